//! Keycloak, as its client set-up can be wrong. Everything is learnt with the vault's own client.

use std::fs;

use serde_json::{Value, json};
use tokenvault_tests::harness::realm::{LabRealm, VAULT};
use tokenvault_tests::harness::{Result, ports};

use crate::doctor::stage::Stage;

/// Changes the vault's client.
async fn client(stage: &Stage, change: impl FnOnce(&mut Value)) -> Result<()> {
    let admin = stage.realm().admin();
    let mut client = admin.client(stage.realm().name(), VAULT).await?;
    change(&mut client);
    admin.put_client(stage.realm().name(), &client).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keycloak_or_a_realm_that_is_not_there_is_a_hazard() -> Result<()> {
    let mut stage = Stage::sound().await?;
    stage.tenant("base_url", format!("http://127.0.0.1:{}/realms/x", ports::free()?));
    stage.expect_only("keycloak", "no connection", "look at Keycloak")?;

    let base = stage.realm().base_url().to_owned();
    stage.tenant("base_url", format!("{base}/realms/atlantis"));
    stage.expect_only("keycloak", "404", "there is no such realm")
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_in_keycloaks_place_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/realms/stand-in", listener.local_addr()?);
    let router = axum::Router::new().fallback(async || "<html>It works!</html>");
    tokio::spawn(async move { drop(axum::serve(listener, router).await) });
    stage.tenant("base_url", url);
    stage.expect_only("keycloak", "", "something else than Keycloak answers there")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_cannot_be_set_up_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.tenant("base_url", "https://127.0.0.1:1/realms/stand-in");
    stage.tenant("ca_file", "none.pem");
    stage.expect_only("keycloak", "none.pem", "correct the tenant's section")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_of_another_name_is_a_hazard() -> Result<()> {
    let mut stage = Stage::sound().await?;
    let name = stage.realm().name().to_owned();
    stage.tenant("issuer", format!("https://keycloak.example.org/realms/{name}"));
    stage.expect_only("keycloak-issuer", "every proof would be refused", "set `issuer`")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_gets_no_token_is_a_hazard_with_its_own_remedy() -> Result<()> {
    let mut stage = Stage::sound().await?;
    stage.private("client-secret", "not the secret")?;
    stage.expect_only("keycloak-client", "401", "put the secret of tokenvault into its file")?;
    stage.expect_only(
        "keycloak-client",
        "401",
        "or let deploy/keycloak/setup.sh --secret-file, with the other options it was run with, give Keycloak the secret",
    )?;
    assert!(!stage.examine(&[])?.remedy("keycloak-client").contains("restart"), "the file is read again");
    let secret = stage.realm().secret(VAULT).to_owned();
    stage.private("client-secret", &secret)?;

    stage.tenant("client_id", "nobody");
    stage.expect_only("keycloak-client", "gives nobody no token", "create or enable the client nobody")?;
    stage.tenant("client_id", VAULT);

    client(&stage, |client| client["serviceAccountsEnabled"] = json!(false)).await?;
    stage.expect_only("keycloak-client", "not enabled to retrieve service account", "Service accounts roles")?;

    client(&stage, |client| client["publicClient"] = json!(true)).await?;
    stage.expect_only("keycloak-client", "Public client", "Client authentication")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_proves_itself_in_another_way_than_the_vault_does_is_a_hazard() -> Result<()> {
    let mut stage = Stage::sound().await?;
    let (check, remedy) = ("keycloak-client", "\"Client Id and Secret\"");
    for (kind, finding) in [
        ("client-jwt", "client_assertion_type is missing"),
        ("client-secret-jwt", "client_assertion_type is missing"),
        ("client-x509", "Invalid client"),
    ] {
        client(&stage, |client| client["clientAuthenticatorType"] = json!(kind)).await?;
        stage.expect_only(check, finding, remedy)?;
        stage.expect_only(check, finding, "setup.sh --secret-file, with the other options it was run with")?;
    }
    assert!(!stage.examine(&[])?.remedy(check).starts_with("put the secret"));

    client(&stage, |client| client["clientAuthenticatorType"] = json!("client-secret")).await?;
    stage.forget("client_secret_file");
    stage.tenant("private_key_jwt_file", "tls/server.key");
    stage.expect_only(check, "Invalid client", "choose \"Signed JWT\"")?;
    assert!(!stage.examine(&[])?.remedy(check).contains("secret"), "there is none");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_after_a_failure_is_told_as_not_looked_at() -> Result<()> {
    let mut stage = Stage::sound().await?;
    let lacking = |found: &crate::doctor::stage::Findings| {
        let said = found.to_string();
        assert!(said.contains("nothing more was looked at: clock-keycloak"), "{said}");
        for check in ["keycloak-exchange", "rotation", "token-size", "impersonating-client", "proof-size"] {
            assert!(said.contains(check), "{check} is not named: {said}");
        }
    };
    stage.private("client-secret", "not the secret")?;
    lacking(&stage.examine(&[])?);

    stage.tenant("base_url", format!("http://127.0.0.1:{}/realms/x", ports::free()?));
    lacking(&stage.examine(&[])?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_may_not_exchange_is_a_hazard() -> Result<()> {
    let stage = Stage::sound().await?;
    let attribute = "standard.token.exchange.enableRefreshRequestedTokenType";
    client(&stage, |client| client["attributes"][attribute] = json!("NO")).await?;
    stage.expect_only("keycloak-exchange", "for access tokens only", "Same session")?;

    // Where the server has the legacy exchange, that one takes over silently.
    client(&stage, |client| client["attributes"]["standard.token.exchange.enabled"] = json!("false")).await?;
    stage.expect_only("keycloak-exchange", "is not enabled for tokenvault", "Standard token exchange")
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_that_is_wanted_and_not_possible_is_a_hazard() -> Result<()> {
    // A second may pass between a session's beginning and its first answer.
    let mut stage = Stage::on(LabRealm::builder().without_impersonation().idle(90_000).max(90_000)).await?;
    stage.tenant("on_logout", "continue");
    stage.expect_only("keycloak-impersonation", "lets jobs ask for it", "setup.sh --impersonate")?;

    stage.realm().admin().grant_impersonation(stage.realm().name(), VAULT).await?;
    let found = stage.examine(&[])?;
    assert!(found.succeeded, "{found}");
    assert_eq!((found.verdict("rotation"), found.verdict("session-length")), ("fine", "fine"), "{found}");

    let account = stage.realm().admin().user_id(stage.realm().name(), "service-account-tokenvault").await?;
    let left = stage.realm().admin().sessions(stage.realm().name(), &account).await?;
    assert!(left.is_empty(), "the session that was opened for it is gone: {left:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_that_the_policy_or_the_tenant_lets_jobs_ask_for_is_tried_out() -> Result<()> {
    let mut stage = Stage::sound().await?;
    let policy = fs::read_to_string(stage.file("policy.toml"))?;
    let lavish = policy.replace("[\"exchange\"]", "[\"exchange\", \"impersonate\"]");
    fs::write(stage.file("policy.toml"), lavish)?;
    stage.expect_only("keycloak-impersonation", "lets jobs ask for it", "setup.sh --impersonate")?;

    fs::write(stage.file("policy.toml"), policy)?;
    assert!(stage.examine(&[])?.succeeded, "nobody wants it any more");
    stage.tenant("on_logout", "continue");
    stage.expect_only("keycloak-impersonation", "lets jobs ask for it", "setup.sh --impersonate")
}

#[tokio::test(flavor = "multi_thread")]
async fn impersonation_that_nobody_wants_is_noted() -> Result<()> {
    let mut stage = Stage::on(LabRealm::builder()).await?;

    let found = stage.examine(&[])?;

    assert!(found.succeeded && found.verdict("keycloak-impersonation") == "note", "{found}");

    // Nor can anybody where the tenant rules it out.
    stage.tenant("on_logout", "continue");
    stage.tenant("acquisitions", vec!["exchange"]);
    let found = stage.examine(&[])?;
    assert!(found.succeeded && found.verdict("keycloak-impersonation") == "note", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reuse_that_the_realm_does_not_allow_is_found_by_trying_it_out() -> Result<()> {
    let mut stage = Stage::on(LabRealm::builder().max_reuse(1)).await?;
    stage.tenant("on_logout", "continue");
    for (configured, verdict) in [(0, "note"), (1, "fine")] {
        stage.tenant("refresh_token_max_reuse", configured);
        let found = stage.examine(&[])?;
        assert!(found.succeeded && found.verdict("rotation") == verdict, "{configured}: {found}");
    }
    stage.tenant("refresh_token_max_reuse", 2);
    stage.expect_only("rotation", "may be sent 2 times", "Refresh Token Max Reuse")
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_too_short_for_the_lease_or_for_reads_are_hazards() -> Result<()> {
    let mut stage = Stage::on(LabRealm::builder().at_ttl(30).without_impersonation()).await?;
    stage.expect_only("lease", "access tokens live ", "shorter than a quarter")?;
    stage.set("renewal.lease", 5);
    stage.set("server.default_min_ttl", 16);
    stage.expect_only("min-ttl", "access tokens live ", "below half")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_scope_is_noted() -> Result<()> {
    let stage = Stage::sound().await?;
    let found = stage.examine(&[])?;
    assert_eq!(found.verdict("full-scope"), "note", "{found}");
    assert!(found.remedy("full-scope").contains("but without --full-scope"), "it may be one of the options: {found}");
    client(&stage, |client| client["fullScopeAllowed"] = json!(false)).await?;
    assert_eq!(stage.examine(&[])?.verdict("full-scope"), "fine");
    Ok(())
}
