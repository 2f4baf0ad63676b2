//! A realm as FOLIO makes it, as an earlier version of setup.sh left it, and what the remedies make of it.

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::setup_script;

use crate::doctor::stage::Stage;

const LIGHTWEIGHT: &str = "client.use.lightweight.access.token.enabled";

/// A realm that was made ready, with everything that there is a remedy for, and jobs that may impersonate.
pub(crate) async fn ready() -> Result<Stage> {
    let stage = Stage::on_folio(FolioRealm::builder()).await?;
    stage.register("impersonate")?;
    stage.set_up(&["--impersonate", "--protect-user-id"]).await?;
    Ok(stage)
}

/// A client without the mappers of these names.
pub(crate) fn without(mappers: &'static [&'static str]) -> impl FnOnce(&mut Value) {
    move |client| {
        if let Some(present) = client["protocolMappers"].as_array_mut() {
            present.retain(|mapper| !mapper["name"].as_str().is_some_and(|name| mappers.contains(&name)));
        }
    }
}

/// Takes the role for impersonation out of the client's scope mappings.
async fn unmap_impersonation(stage: &Stage) -> Result<()> {
    let (admin, realm) = (stage.realm().admin(), stage.realm().name());
    let id = |client: Value| client["id"].as_str().unwrap_or_default().to_owned();
    let (vault, management) = (admin.client(realm, VAULT).await?, admin.client(realm, "realm-management").await?);
    let (vault, management) = (id(vault), id(management));
    let role = admin.call(Method::GET, &format!("/{realm}/clients/{management}/roles/impersonation"), None).await?;
    let path = format!("/{realm}/clients/{vault}/scope-mappings/clients/{management}");
    admin.call(Method::DELETE, &path, Some(&json!([role]))).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_of_folios_that_an_earlier_version_set_up_shows_what_is_wrong_and_the_remedies_end_it() -> Result<()> {
    let mut stage = Stage::on_folio(FolioRealm::builder().many_roles(400)).await?;
    setup_script::long_ago(stage.realm(), stage.ui()).await?;
    stage.private("client-secret", "a secret of long ago")?;
    stage.register("impersonate")?;
    stage.tenant("max_proof_age", 300);
    let (alone, shown) = (stage.examine(&[])?, stage.examine_whole(&[]).await?);

    assert_eq!(alone.hazards(), ["keycloak-user-id", "proof-age"], "{alone}");
    let expected = ["keycloak-user-id", "accepted-client", "proof-age", "writable-user-id", "token-size"];
    assert_eq!(shown.hazards(), expected, "{shown}");
    for hazard in ["accepted-client", "keycloak-user-id", "token-size"] {
        assert!(shown.remedy(hazard).contains("deploy/keycloak/setup.sh"), "{hazard}: {shown}");
    }
    assert!(shown.remedy("token-size").contains("realm-management/impersonation"), "{shown}");

    stage.set_up(&["--impersonate"]).await?;
    stage.tenant("max_proof_age", 600);
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("writable-user-id", "one can register in another's name", "setup.sh --protect-user-id")?;
    let accepted = stage.examine_whole(&["--accept", "writable-user-id"]).await?;
    assert!(accepted.succeeded && accepted.verdict("writable-user-id") == "accepted", "{accepted}");
    stage.set_up(&["--protect-user-id"]).await?;
    let sound = stage.examine_whole(&[]).await?;
    assert!(sound.succeeded && sound.verdicts("not_checked").is_empty(), "{sound}");
    assert_eq!(sound.verdict("keycloak-impersonation"), "fine", "{sound}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vaults_own_token_shows_needs_no_administrator() -> Result<()> {
    let stage = ready().await?;
    assert!(stage.examine(&[])?.succeeded);

    let sound = stage.change(VAULT, |client| client["attributes"][LIGHTWEIGHT] = json!("true")).await?;
    stage.expect_only("lightweight", "hide the roles by which privileged users are known", "setup.sh again")?;
    stage.restore(&sound).await?;

    stage.change(VAULT, without(&["audience tokenvault"])).await?;
    stage.expect_only("audience", "do not name tokenvault in `aud`", "setup.sh again")?;
    assert_eq!(stage.examine(&[])?.verdict("introspection"), "not_checked", "Keycloak tells nobody of it");
    stage.restore(&sound).await?;

    stage.change(VAULT, without(&["keycloak_user_id"])).await?;
    stage.expect_only(
        "keycloak-user-id",
        "every registration with `impersonate` would be refused",
        "setup.sh again",
    )?;
    stage.register("exchange")?;
    let found = stage.examine(&[])?;
    assert!(found.succeeded, "nobody needs it where nobody impersonates: {found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_clients_scope_hides_is_a_hazard_with_a_remedy_that_ends_it() -> Result<()> {
    let stage = ready().await?;
    unmap_impersonation(&stage).await?;
    let (finding, remedy) = ("lacks it in its scope mappings", "setup.sh --impersonate puts the role in both places");
    stage.expect_only("keycloak-impersonation", finding, remedy)?;

    stage.set_up(&["--impersonate"]).await?;

    assert!(stage.examine(&[])?.succeeded);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_nobody_can_use_is_a_hazard_with_its_own_remedy() -> Result<()> {
    let stage = ready().await?;
    let sound = stage.change(VAULT, |client| client["attributes"]["dpop.bound.access.tokens"] = json!("true")).await?;
    stage.expect_only("keycloak-client", "DPoP proof is missing", "setup.sh sets it so")?;
    stage.restore(&sound).await?;

    stage.change(VAULT, |client| client["consentRequired"] = json!(true)).await?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("consent", "no registration succeeds", "setup.sh again")?;
    stage.expect_only("consent", "no registration succeeds", "setup.sh again")?;
    stage.restore(&sound).await?;

    let sound =
        stage.change(VAULT, |client| client["attributes"]["client.session.max.lifespan"] = json!("3600")).await?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("session-length", "sessions end after 3600 s", "Client Session Max")?;
    stage.restore(&sound).await?;

    stage
        .change(VAULT, |client| {
            for mapper in client["protocolMappers"].as_array_mut().into_iter().flatten() {
                if mapper["name"] == "keycloak_user_id" {
                    mapper["config"]["user.attribute"] = json!("username");
                }
            }
        })
        .await?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("keycloak-user-id", "must be Keycloak's id of the user", "setup.sh again")
}
