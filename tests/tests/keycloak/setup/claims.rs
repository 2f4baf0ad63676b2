//! What users are known by: the claim is made of the same thing in the UI's tokens and in the vault's, and of nothing else.

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::setup_script::{FOLIO, said, setup};

use crate::setup::changes;

const LIGHTWEIGHT: &str = "client.use.lightweight.access.token.enabled";

async fn run(realm: &FolioRealm, claim: &str) -> Result<Output> {
    let options = ["--realm", realm.name(), "--ui-client", realm.login_client(), "--user-id-claim", claim];
    setup(keycloak().await?, &options, &[])
}

/// A mapper of an attribute.
fn mapper(name: &str, attribute: &str, claim: &str) -> Value {
    let config = json!({ "user.attribute": attribute, "claim.name": claim, "jsonType.label": "String",
        "access.token.claim": "true", "lightweight.claim": "true" });
    json!({ "name": name, "protocol": "openid-connect", "protocolMapper": "oidc-usermodel-attribute-mapper", "config": config })
}

async fn learn_secret(realm: &mut FolioRealm) -> Result<()> {
    let client = realm.admin().client(realm.name(), VAULT).await?;
    realm.learn_secret(VAULT, client["secret"].as_str().unwrap_or_default());
    Ok(())
}

#[tokio::test]
async fn a_claim_that_a_scope_of_the_realm_makes_is_made_of_the_same_and_never_of_an_attribute_of_its_name()
-> Result<()> {
    let mut realm = FolioRealm::builder().create().await?;
    // As an earlier version of the script left it.
    let old = mapper("preferred_username", "preferred_username", "preferred_username");
    realm.admin().add_mapper(realm.name(), realm.login_client(), &old).await?;
    let (second, victim) = (realm.user("second")?.clone(), realm.user("diku_admin")?.clone());
    realm.set_own_attribute(&realm.login(&second).await?, "preferred_username", &victim.username).await?;
    assert_eq!(realm.login(&second).await?.claim("preferred_username"), victim.username, "that was the hole");

    let first = run(&realm, "preferred_username").await?;
    let again = run(&realm, "preferred_username").await?;

    assert!(first.status.success() && said(&first).contains("is the user's username"), "{}", said(&first));
    assert!(again.status.success() && changes(&again).is_empty(), "{}", said(&again));
    learn_secret(&mut realm).await?;
    let ui = realm.login(&second).await?;
    let pair = realm.exchange(&ui.access_token).await?;
    assert_eq!([ui.claim("preferred_username"), pair.claim("preferred_username")], [second.username.as_str(); 2]);
    Ok(())
}

#[tokio::test]
async fn claims_that_are_not_made_of_anything_of_the_users_are_refused() -> Result<()> {
    let realm = FolioRealm::builder().create().await?;
    for claim in ["sid", "azp", "name", "realm_access"] {
        let run = run(&realm, claim).await?;
        assert!(!run.status.success() && said(&run).contains("cannot be known by"), "{claim}: {}", said(&run));
        assert!(realm.admin().client(realm.name(), VAULT).await.is_err(), "{claim}: nothing was done");
    }
    Ok(())
}

#[tokio::test]
async fn keycloaks_own_id_can_be_what_users_are_known_by() -> Result<()> {
    let mut realm = FolioRealm::builder().create().await?;
    let run = run(&realm, "keycloak_user_id").await?;
    assert!(run.status.success(), "{}", said(&run));
    learn_secret(&mut realm).await?;
    let user = realm.user("second")?.clone();
    let ui = realm.login(&user).await?;
    let pair = realm.exchange(&ui.access_token).await?;
    assert_eq!([ui.claim("keycloak_user_id"), pair.claim("keycloak_user_id")], [user.sub.as_str(); 2]);
    Ok(())
}

#[tokio::test]
async fn a_second_mapper_on_the_vaults_client_is_removed() -> Result<()> {
    let mut realm = FolioRealm::builder().create().await?;
    assert!(run(&realm, "user_id").await?.status.success());
    for claim in ["user_id", "keycloak_user_id"] {
        let second = mapper(&format!("a second {claim}"), "barcode", claim);
        realm.admin().add_mapper(realm.name(), VAULT, &second).await?;
    }

    let repair = run(&realm, "user_id").await?;

    let told = changes(&repair);
    assert!(repair.status.success() && told.len() == 2, "{}", said(&repair));
    for claim in ["user_id", "keycloak_user_id"] {
        let removed = format!("removed the mapper \"a second {claim}\", which wrote `{claim}` as well");
        assert!(told.contains(&removed), "{told:?}");
    }
    learn_secret(&mut realm).await?;
    let user = realm.user("second")?.clone();
    let pair = realm.exchange(&realm.login(&user).await?.access_token).await?;
    assert_eq!([pair.claim("user_id"), pair.claim("keycloak_user_id")], [&*user.user_id, &*user.sub]);
    Ok(())
}

#[tokio::test]
async fn a_client_scope_that_makes_it_of_something_else_is_named() -> Result<()> {
    let realm = FolioRealm::builder().create().await?;
    assert!(run(&realm, "user_id").await?.status.success());
    let (admin, name) = (realm.admin(), realm.name());
    let scope = json!({ "name": "library", "protocol": "openid-connect", "protocolMappers": [mapper("card", "barcode", "keycloak_user_id")] });
    admin.call(Method::POST, &format!("/{name}/client-scopes"), Some(&scope)).await?;
    let scopes = admin.call(Method::GET, &format!("/{name}/client-scopes"), None).await?;
    let scope = scopes.as_array().into_iter().flatten().find(|scope| scope["name"] == "library");
    let id = |value: Option<&Value>| value.and_then(|value| value["id"].as_str()).unwrap_or_default().to_owned();
    let vault = admin.client(name, VAULT).await?;
    let path = format!("/{name}/clients/{}/default-client-scopes/{}", id(Some(&vault)), id(scope));
    admin.call(Method::PUT, &path, None).await?;

    let run = run(&realm, "user_id").await?;

    assert!(!run.status.success(), "{}", said(&run));
    assert!(
        said(&run).contains("its client scope library makes it of the attribute barcode (mapper card)"),
        "{}",
        said(&run)
    );
    Ok(())
}

#[tokio::test]
async fn clients_that_make_it_of_different_things_are_named_and_nothing_is_done() -> Result<()> {
    let realm = FolioRealm::builder().create().await?;
    realm.admin().add_mapper(realm.name(), realm.login_client(), &mapper("card", "barcode", "user_id")).await?;

    let run = run(&realm, "user_id").await?;

    let told = said(&run);
    assert!(!run.status.success() && told.contains("the attribute barcode; the attribute user_id"), "{told}");
    assert!(realm.admin().client(realm.name(), VAULT).await.is_err(), "{told}");
    Ok(())
}

#[tokio::test]
async fn what_the_uis_client_makes_it_of_is_what_the_vaults_makes_it_of() -> Result<()> {
    let mut realm = FolioRealm::builder().create().await?;
    realm.admin().add_mapper(realm.name(), realm.login_client(), &mapper("card", "barcode", "library_id")).await?;

    let run = run(&realm, "library_id").await?;

    assert!(run.status.success() && said(&run).contains("`library_id` is the attribute barcode"), "{}", said(&run));
    learn_secret(&mut realm).await?;
    let user = realm.user("second")?.clone();
    let ui = realm.login(&user).await?;
    let pair = realm.exchange(&ui.access_token).await?;
    assert!(!ui.claim("library_id").is_empty());
    assert_eq!(pair.claim("library_id"), ui.claim("library_id"));
    Ok(())
}

#[tokio::test]
async fn a_client_that_changes_to_lightweight_tokens_keeps_what_modules_see() -> Result<()> {
    let realm = FolioRealm::builder().regular().create().await?;
    let user = realm.user("second")?.clone();
    assert!(run(&realm, "user_id").await?.status.success());
    let before = realm.login(&user).await?;
    realm.admin().set_client_attribute(realm.name(), realm.login_client(), LIGHTWEIGHT, "true").await?;

    let repair = run(&realm, "user_id").await?;

    let told = changes(&repair);
    assert!(repair.status.success(), "{}", said(&repair));
    assert!(
        told.iter().any(|line| line.starts_with("marked the mapper \"username\" for its lightweight access tokens")),
        "{told:?}"
    );
    let after = realm.login(&user).await?;
    assert_eq!([before.claim("sub"), before.claim("user_id")], ["second", &*user.user_id]);
    assert_eq!([after.claim("sub"), after.claim("user_id")], ["second", &*user.user_id]);
    assert!(changes(&run(&realm, "user_id").await?).is_empty(), "and is content the second time");
    Ok(())
}

#[tokio::test]
async fn a_sub_that_has_changed_with_the_kind_of_tokens_is_warned_of() -> Result<()> {
    let (keycloak, realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let mut client = realm.admin().client(realm.name(), realm.login_client()).await?;
    for mapper in client["protocolMappers"].as_array_mut().into_iter().flatten() {
        if mapper["name"] == "username" {
            mapper["config"]["lightweight.claim"] = json!("false");
        }
    }
    realm.admin().put_client(realm.name(), &client).await?;

    let run = setup(keycloak, &["--realm", realm.name()], FOLIO)?;

    assert!(
        run.status.success() && said(&run).contains("maps something of its own onto `sub` of regular tokens"),
        "{}",
        said(&run)
    );
    Ok(())
}
