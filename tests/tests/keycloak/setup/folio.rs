//! A realm as FOLIO makes it, with lightweight tokens and with regular ones, and what an earlier version of the script has
//! left in it.

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::{FolioRealm, FolioRealmBuilder};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::setup_script::{FOLIO, long_ago, said, setup};

use crate::setup::changes;

const LIGHTWEIGHT: &str = "client.use.lightweight.access.token.enabled";

/// The vault's secret, which Keycloak has made up.
async fn learn_secret(realm: &mut FolioRealm) -> Result<()> {
    let client = realm.admin().client(realm.name(), VAULT).await?;
    realm.learn_secret(VAULT, client["secret"].as_str().unwrap_or_default());
    Ok(())
}

async fn change(realm: &FolioRealm, client: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut present = realm.admin().client(realm.name(), client).await?;
    change(&mut present);
    realm.admin().put_client(realm.name(), &present).await
}

/// That a token of the UI's is good for an exchange and for a session of the vault's own.
async fn serves(realm: &FolioRealm, username: &str) -> Result<()> {
    let user = realm.user(username)?;
    let ui = realm.login(user).await?;
    let pair = realm.exchange(&ui.access_token).await?;
    let own = realm.impersonate(&user.sub).await?;
    assert_eq!((pair.sid(), own.sid() == ui.sid()), (ui.sid(), false));
    for tokens in [&pair, &own] {
        assert_eq!([tokens.claim("user_id"), tokens.claim("keycloak_user_id")], [&*user.user_id, &*user.sub]);
        assert!(tokens.size() < 2048, "{username}: {} bytes", tokens.size());
    }
    Ok(())
}

async fn becomes_ready(realm: FolioRealmBuilder, users: &[&str]) -> Result<()> {
    let (keycloak, mut realm) = (keycloak().await?, realm.create().await?);

    let first = setup(keycloak, &["--realm", realm.name(), "--impersonate"], FOLIO)?;
    assert!(first.status.success(), "{}", said(&first));
    let second = setup(keycloak, &["--realm", realm.name(), "--impersonate"], FOLIO)?;

    assert!(second.status.success() && changes(&second).is_empty(), "{}", said(&second));
    learn_secret(&mut realm).await?;
    for user in users {
        serves(&realm, user).await?;
    }
    let ui = realm.login(realm.user("second")?).await?;
    assert_eq!(ui.claim("sub"), "second", "what FOLIO maps onto `sub` is left alone");
    Ok(())
}

#[tokio::test]
async fn a_realm_with_lightweight_tokens_becomes_ready_in_one_run() -> Result<()> {
    becomes_ready(FolioRealm::builder().many_roles(400), &["diku_admin", "diku_many"]).await
}

#[tokio::test]
async fn a_realm_with_regular_tokens_becomes_ready_in_one_run() -> Result<()> {
    becomes_ready(FolioRealm::builder().regular().many_roles(100), &["diku_admin", "diku_many"]).await
}

#[tokio::test]
async fn what_an_earlier_version_left_is_brought_into_line_without_a_gap() -> Result<()> {
    let (keycloak, mut realm) = (keycloak().await?, FolioRealm::builder().many_roles(100).create().await?);
    long_ago(&realm, realm.login_client()).await?;
    learn_secret(&mut realm).await?;
    let ui = realm.login(realm.user("second")?).await?;
    assert!(realm.exchange(&ui.access_token).await.is_err(), "lightweight tokens do not name the vault yet");

    // Without --impersonate: the service account holds the role all the same.
    let run = setup(keycloak, &["--realm", realm.name()], FOLIO)?;

    let told = changes(&run);
    let at = |text: &str| told.iter().position(|line| line.contains(text));
    assert!(run.status.success(), "{}", said(&run));
    assert_eq!(told.iter().filter(|line| line.starts_with("corrected the mapper")).count(), 4, "{told:?}");
    assert!(at("added the mapper \"keycloak_user_id\"").is_some(), "{told:?}");
    let (mapped, narrow) = (at("into its scope mappings"), at("switched full scope off"));
    assert!(mapped.is_some() && mapped < narrow, "the role is there before the scope is gone: {told:?}");
    serves(&realm, "diku_many").await?;
    let again = setup(keycloak, &["--realm", realm.name()], FOLIO)?;
    assert!(again.status.success() && changes(&again).is_empty(), "{}", said(&again));
    Ok(())
}

#[tokio::test]
async fn full_scope_stays_where_it_is_asked_for_and_comes_back_when_it_is() -> Result<()> {
    let (keycloak, mut realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let full = async |realm: &FolioRealm| realm.admin().client(realm.name(), VAULT).await;
    let run = |more: &[&str]| setup(keycloak, &[&["--realm", realm.name(), "--impersonate"], more].concat(), FOLIO);

    assert!(run(&["--full-scope"])?.status.success());
    assert_eq!(full(&realm).await?["fullScopeAllowed"], json!(true));
    assert!(changes(&run(&["--full-scope"])?).is_empty());
    assert!(said(&run(&[])?).contains("switched full scope off"));
    assert_eq!(full(&realm).await?["fullScopeAllowed"], json!(false));
    assert!(said(&run(&["--full-scope"])?).contains("switched full scope on"));

    learn_secret(&mut realm).await?;
    let ui = realm.login(realm.user("diku_admin")?).await?;
    let pair = realm.exchange(&ui.access_token).await?;
    assert!(pair.claims()["realm_access"]["roles"].as_array().is_some_and(|roles| roles.len() >= 25));
    Ok(())
}

#[tokio::test]
async fn settings_with_which_the_vaults_client_cannot_work_are_taken_back() -> Result<()> {
    let (keycloak, mut realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let run = || setup(keycloak, &["--realm", realm.name(), "--impersonate"], FOLIO);
    assert!(run()?.status.success());
    change(&realm, VAULT, |client| {
        client["consentRequired"] = json!(true);
        client["attributes"][LIGHTWEIGHT] = json!("true");
        client["attributes"]["dpop.bound.access.tokens"] = json!("true");
        client["attributes"]["use.refresh.tokens"] = json!("false");
    })
    .await?;

    let repair = run()?;

    let told = changes(&repair).join("\n");
    for setting in ["consentRequired", LIGHTWEIGHT, "dpop.bound.access.tokens", "use.refresh.tokens"] {
        assert!(told.contains(setting), "{setting}: {told}");
    }
    learn_secret(&mut realm).await?;
    serves(&realm, "diku_admin").await
}

#[tokio::test]
async fn a_lightweight_client_gets_a_sub_where_nothing_maps_one() -> Result<()> {
    let (keycloak, realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    change(&realm, realm.login_client(), |client| client["protocolMappers"] = json!([])).await?;
    let user = realm.user("second")?;
    assert_eq!(realm.login(user).await?.claim("sub"), "");

    let run = setup(keycloak, &["--realm", realm.name()], FOLIO)?;

    assert!(run.status.success() && said(&run).contains("added the mapper \"sub\""), "{}", said(&run));
    let tokens = realm.login(user).await?;
    assert_eq!([tokens.claim("sub"), tokens.claim("user_id")], [&*user.sub, &*user.user_id]);
    Ok(())
}

#[tokio::test]
async fn what_the_uis_tokens_carry_already_is_not_mapped_a_second_time() -> Result<()> {
    let (keycloak, realm) = (keycloak().await?, FolioRealm::builder().create().await?);

    let run = setup(keycloak, &["--realm", realm.name()], FOLIO)?;

    assert!(run.status.success(), "{}", said(&run));
    let client = realm.admin().client(realm.name(), realm.login_client()).await?;
    let mappers: Vec<&str> = client["protocolMappers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|mapper| mapper["name"].as_str())
        .collect();
    assert_eq!(mappers.len(), 4, "FOLIO's three and the audience: {mappers:?}");
    Ok(())
}

#[tokio::test]
async fn users_can_be_kept_from_writing_their_own_user_id() -> Result<()> {
    let (keycloak, realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let (second, victim) = (realm.user("second")?, realm.user("diku_admin")?);
    let tokens = realm.login(second).await?;
    realm.set_own_attribute(&tokens, "barcode", "1").await?;

    let run = setup(keycloak, &["--realm", realm.name(), "--protect-user-id"], FOLIO)?;

    assert!(said(&run).contains("only administrators edit user_id"), "{}", said(&run));
    assert!(realm.set_own_attribute(&tokens, "user_id", &victim.user_id).await.is_err());
    realm.set_own_attribute(&tokens, "barcode", "2").await?;
    let path = format!("/{}/users/{}", realm.name(), second.sub);
    let mut account = realm.admin().call(Method::GET, &path, None).await?;
    account["attributes"]["user_id"] = json!(["of-folio"]);
    realm.admin().call(Method::PUT, &path, Some(&account)).await?;
    assert_eq!(realm.login(second).await?.claim("user_id"), "of-folio", "FOLIO itself writes it still");
    Ok(())
}

#[tokio::test]
async fn options_that_will_not_work_in_the_realm_are_warned_of() -> Result<()> {
    let (keycloak, realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let by_name = setup(keycloak, &["--realm", realm.name(), "--ui-client", realm.login_client()], &[])?;
    assert!(
        by_name.status.success() && said(&by_name).contains("--user-id-claim (FOLIO: user_id)"),
        "{}",
        said(&by_name)
    );

    change(&realm, realm.login_client(), |client| client["fullScopeAllowed"] = json!(false)).await?;
    let hidden = setup(keycloak, &["--realm", realm.name(), "--impersonate"], FOLIO)?;
    assert!(hidden.status.success() && said(&hidden).contains("refuses to impersonate"), "{}", said(&hidden));
    Ok(())
}
