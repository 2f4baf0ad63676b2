//! The harness' realm is FOLIO's, as far as a vault can notice.

use std::sync::Arc;

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::{ADMIN_ROLE, FolioRealm, Holding, IMPERSONATION_CLIENT};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::realm::{LabRealm, Tokens, claims, unique_name};
use tokenvault_tests::harness::shared::SharedWhileUsed;

/// A client that may introspect: it is named in `aud` as soon as the UI's client has the mapper that set-up gives it.
const ASKER: &str = "asker";

/// The realm that is up, or a new one. Nobody has set anything up in it.
async fn untouched() -> Result<Arc<FolioRealm>> {
    static UP: SharedWhileUsed<FolioRealm> = SharedWhileUsed::new();
    UP.get(async || FolioRealm::builder().create().await).await
}

/// What introspection shows of a token whose client names [`ASKER`] in `aud`.
async fn introspected(realm: &FolioRealm, tokens: &Tokens) -> Result<Value> {
    Ok(realm.introspect(ASKER, &tokens.access_token, "access_token").await?)
}

async fn add_asker(realm: &mut FolioRealm) -> Result<()> {
    let client = json!({ "clientId": ASKER, "secret": "a secret of the test's", "serviceAccountsEnabled": true });
    realm.admin().put_client(realm.name(), &client).await?;
    realm.learn_secret(ASKER, "a secret of the test's");
    let mapper = json!({
        "name": "audience",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": { "included.client.audience": ASKER, "access.token.claim": "true", "lightweight.claim": "true" },
    });
    realm.admin().add_mapper(realm.name(), realm.login_client(), &mapper).await
}

#[tokio::test]
async fn tokens_are_lightweight_and_name_the_user_by_name() -> Result<()> {
    let realm = untouched().await?;
    let admin = realm.user("diku_admin")?;

    let tokens = realm.login(admin).await?;

    let seen = tokens.claims();
    let members: Vec<&str> = seen.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    assert_eq!(members, ["azp", "exp", "iat", "iss", "jti", "scope", "sid", "sub", "typ", "user_id"]);
    assert_eq!(seen["azp"], json!(format!("{}-login-application", realm.name())));
    assert_eq!(seen["sub"], json!("diku_admin"));
    assert_eq!(claims(tokens.refresh())["sub"], json!("diku_admin"));
    assert_eq!(seen["user_id"], json!(admin.user_id));
    assert!((590..=600).contains(&tokens.expires_in), "{}", tokens.expires_in);
    assert!((700..1000).contains(&tokens.size()), "{} bytes", tokens.size());
    Ok(())
}

#[tokio::test]
async fn regular_tokens_carry_hundreds_of_roles_and_decide_the_same() -> Result<()> {
    let realm = FolioRealm::builder().regular().many_roles(400).create().await?;
    let (admin, many) = (realm.user("diku_admin")?, realm.user("diku_many")?);

    let (few, all) = (realm.login(admin).await?, realm.login(many).await?);

    assert_eq!(few.claim("sub"), "diku_admin");
    let roles = |tokens: &Tokens| tokens.claims()["realm_access"]["roles"].as_array().map_or(0, Vec::len);
    assert!(roles(&few) >= 25 && roles(&all) >= 401, "{} and {}", roles(&few), roles(&all));
    assert!(all.size() > 20_000, "{} bytes", all.size());
    assert_eq!(realm.decide(&few.access_token, "GET", "/inventory/items").await?, 200);
    assert_eq!(realm.decide(&few.access_token, "DELETE", "/inventory/items").await?, 403);
    Ok(())
}

#[tokio::test]
async fn users_rename_themselves_and_write_their_own_user_id() -> Result<()> {
    let realm = untouched().await?;
    let (second, victim) = (realm.user("second")?, realm.user("diku_admin")?);
    let tokens = realm.login(second).await?;

    realm.set_own_attribute(&tokens, "user_id", &victim.user_id).await?;
    realm.rename_own(&tokens, &victim.sub).await?;

    let posing = realm.login_named(second, &victim.sub).await?;
    assert_eq!(posing.claim("user_id"), victim.user_id);
    assert_eq!(posing.claim("sub"), victim.sub, "the name is mapped to sub");
    realm.rename(second, "second").await?;
    assert_eq!(realm.login(second).await?.claim("sub"), "second");
    assert_eq!(realm.account(&tokens).await?["id"], json!(second.sub));
    Ok(())
}

#[tokio::test]
async fn introspection_shows_what_lightweight_tokens_hide() -> Result<()> {
    let mut realm = FolioRealm::builder().create().await?;
    add_asker(&mut realm).await?;
    let user = realm.user("second")?.clone();
    let tokens = realm.login(&user).await?;
    let seen = introspected(&realm, &tokens).await?;
    let roles = seen["realm_access"]["roles"].as_array().cloned().unwrap_or_default();
    assert!(roles.contains(&json!(ADMIN_ROLE)), "{seen}");
    assert!(seen["resource_access"]["realm-management"].is_null(), "{seen}");

    for holding in [Holding::Direct, Holding::Composite, Holding::Group] {
        let user = realm.add_user(&format!("{holding:?}").to_lowercase()).await?;
        realm.grant_management(&user, "manage-users", holding).await?;
        let tokens = realm.login(&user).await?;
        assert!(tokens.claims()["resource_access"].is_null());
        let seen = introspected(&realm, &tokens).await?;
        let managed = seen["resource_access"]["realm-management"]["roles"].as_array().cloned().unwrap_or_default();
        assert!(managed.contains(&json!("manage-users")), "{holding:?}: {seen}");
    }
    Ok(())
}

#[tokio::test]
async fn a_consortiums_token_is_of_a_session_nobody_logged_in_to() -> Result<()> {
    let realm = untouched().await?;
    let user = realm.user("diku_admin")?;
    let ui = realm.login(user).await?;

    let tokens = realm.consortium_token(&user.username).await?;

    assert_eq!(tokens.claim("azp"), IMPERSONATION_CLIENT);
    assert_eq!(tokens.claim("user_id"), user.user_id);
    assert_eq!(tokens.claim("sub"), user.username);
    assert_ne!(tokens.sid(), ui.sid());
    Ok(())
}

#[tokio::test]
async fn imported_users_have_their_default_roles() -> Result<()> {
    let user = json!({
        "username": "alice",
        "enabled": true,
        "email": "alice@example.org",
        "firstName": "Alice",
        "lastName": "Lab",
        "credentials": [{ "type": "password", "value": unique_name() }],
    });
    let client = json!({ "clientId": "login-app", "secret": unique_name(), "directAccessGrantsEnabled": true });
    let realm = json!({ "realm": unique_name(), "enabled": true, "clients": [client], "users": [user] });

    let realm = LabRealm::from_representation(keycloak().await?, realm).await?;

    let roles = realm.login("alice").await?.claims()["realm_access"]["roles"].clone();
    assert!(roles.as_array().is_some_and(|roles| roles.contains(&json!("offline_access"))), "{roles}");
    Ok(())
}
