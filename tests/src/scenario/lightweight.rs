//! Lightweight access tokens: what they hide, and what mappers show in them.

use keycloak_double::{ClientConfig, Mapper, RealmConfig, RoleConfig, ServiceAccountConfig};

use super::lab::{ACCESS_TOKEN, INVALID, Lab, REFRESH_TOKEN};
use super::{ALICE, STRANGER, UI, VAULT};
use crate::harness::Result;

const NOT_MEANT: &str = "403 access_denied: Client is not within the token audience";

/// A client whose tokens are lightweight and say what modules need.
fn mapped(client: ClientConfig) -> ClientConfig {
    client
        .without_mappers()
        .lightweight(true)
        .mapper(Mapper::audience(VAULT).in_lightweight_tokens())
        .mapper(Mapper::attribute("user_id", "user_id").in_lightweight_tokens())
        .mapper(Mapper::property("id", "keycloak_user_id").in_lightweight_tokens())
}

/// Nothing is mapped for lightweight tokens: they name nobody in `aud`, so only their own client can exchange them.
pub async fn lightweight_tokens(lab: &mut Lab) -> Result<()> {
    lab.client(UI, |c| c.lightweight(true)).await?;
    let ui = lab.login().await?;
    lab.expect("login with a lightweight token", &ui, "200");
    lab.fact("it names no user", ui.claims()["sub"].is_null() && ui.claims()["user_id"].is_null());
    let answer = lab.exchange(ui.access()).await?;
    lab.expect("exchange of it", &answer, NOT_MEANT);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection by whom a regular token would name", &answer, "200 active");
    let answer = lab.introspect(STRANGER, ui.access()).await?;
    lab.expect("introspection by another", &answer, "200 inactive");
    lab.client(UI, |c| c.lightweight(false)).await?;
    lab.client(VAULT, |c| c.lightweight(true)).await?;
    let ui = lab.login().await?;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange into a lightweight token", &own, "200");
    let answer = lab.exchange(own.access()).await?;
    lab.expect("exchange of one's own lightweight token", &answer, "200");
    let answer = lab.exchange_by(VAULT, own.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("exchange of it for an access token alone", &answer, "200");
    let answer = lab.refresh(VAULT, own.refresh()).await?;
    lab.expect("refresh", &answer, "200");
    Ok(())
}

/// What is mapped for lightweight tokens is in them, and with the audience in it such a token is as good a proof as any.
pub async fn mapped_lightweight_tokens_can_be_exchanged(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    lab.expect("login with a lightweight token", &ui, "200");
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange of it", &own, "200");
    lab.fact("the session is the same", own.sid() == ui.sid());
    lab.fact("the user id is the same", own.claims()["user_id"] == ui.claims()["user_id"]);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection shows what it hides", &answer, "200 active");
    let answer = lab.introspect(STRANGER, ui.access()).await?;
    lab.expect("but not to a client that a regular token would name beside it", &answer, "200 inactive");
    let ui = lab.refresh(UI, ui.refresh()).await?;
    lab.expect("refresh by the user interface", &ui, "200");
    Ok(())
}

/// The realm for it. The user interface also maps something for regular tokens alone.
pub fn mapped_interface(realm: RealmConfig) -> RealmConfig {
    realm.with_client(UI, |c| mapped(c).audience(STRANGER).mapper(Mapper::property("username", "name")))
}

/// A mapper may be made for lightweight tokens alone, or for none but introspection.
pub async fn mappers_say_where_they_count(lab: &mut Lab) -> Result<()> {
    let shown = |reply: &super::transcript::Reply| {
        let claims = reply.claims();
        let names = ["everywhere", "lightweight", "introspection"];
        names.map(|name| if claims[name].is_null() { "-" } else { name }).join(" ")
    };
    let regular = lab.login().await?;
    lab.note("a regular token", shown(&regular));
    lab.client(UI, |c| c.lightweight(true)).await?;
    let light = lab.login().await?;
    lab.note("a lightweight token", shown(&light));
    let answer = lab.introspect(VAULT, light.access()).await?;
    lab.expect("introspection", &answer, "200 active");
    for name in ["everywhere", "lightweight", "introspection"] {
        lab.note(name, &answer.body[name]);
    }
    Ok(())
}

/// The realm for it.
pub fn mappers_of_all_kinds(realm: RealmConfig) -> RealmConfig {
    let name = |claim: &str| Mapper::property("username", claim);
    realm.with_client(UI, |c| {
        mapped(c)
            .lightweight(false)
            .mapper(name("everywhere").in_lightweight_tokens())
            .mapper(name("lightweight").in_lightweight_tokens().not_in_regular_tokens())
            .mapper(name("introspection").not_in_regular_tokens())
    })
}

/// A lightweight token of the vault's hides the roles of whom it is for. Introspection shows them.
pub async fn lightweight_tokens_of_the_vaults_hide_roles(lab: &mut Lab) -> Result<()> {
    let ui = lab.login().await?;
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &own, "200");
    lab.fact("the token shows no roles", own.claims()["resource_access"].is_null());
    let answer = lab.introspect(VAULT, own.access()).await?;
    lab.expect("introspection", &answer, "200 active");
    let managed = |body: &serde_json::Value| body["resource_access"]["realm-management"].is_object();
    lab.fact("introspection shows that she manages the realm", managed(&answer.body));
    let other = lab.impersonate(ALICE).await?;
    lab.expect("impersonation", &other, "200");
    lab.fact("its token shows no roles", other.claims()["resource_access"].is_null());
    let answer = lab.introspect(VAULT, other.access()).await?;
    lab.expect("introspection of that one", &answer, "200 active");
    lab.fact("introspection shows them", managed(&answer.body));
    Ok(())
}

/// The realm for it: Alice manages it.
pub fn lightweight_vault(realm: RealmConfig) -> RealmConfig {
    let user = realm.users()[0].clone().role(RoleConfig::management("manage-users"));
    realm.with_client(VAULT, mapped).user(user)
}

/// A service account's lightweight token has a `sub` without any mapper. Where the name is mapped onto it, Keycloak itself
/// no longer knows whose token it is: nothing can be exchanged with it.
pub async fn a_name_for_sub_hides_a_service_account(lab: &mut Lab) -> Result<()> {
    let service = lab.service_token_of(STRANGER).await?;
    lab.expect("client credentials", &service, "200");
    let answer = lab.exchange_by(STRANGER, service.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("exchange of it", &answer, "200");
    let service = lab.service_token_of(UI).await?;
    lab.expect("client credentials, with the name as sub", &service, "200");
    lab.note("its sub", &service.claims()["sub"]);
    let answer = lab.exchange_by(UI, service.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("exchange of it", &answer, INVALID);
    lab.client(UI, |c| c.lightweight(false)).await?;
    let service = lab.service_token_of(UI).await?;
    let answer = lab.exchange_by(UI, service.access(), ACCESS_TOKEN, &[]).await?;
    lab.expect("exchange of a regular one, which says the name as such", &answer, "200");
    Ok(())
}

/// The realm for it.
pub fn lightweight_accounts(realm: RealmConfig) -> RealmConfig {
    let own = |c: ClientConfig| c.token_exchange().service_account(ServiceAccountConfig::Plain).lightweight(true);
    realm
        .with_client(STRANGER, own)
        .with_client(UI, |c| own(mapped(c)).mapper(Mapper::property("username", "sub").in_lightweight_tokens()))
}

/// FOLIO's own realm: a lightweight proof that names the user by name, and a vault without full scope.
pub async fn folios_realm_serves_the_vault(lab: &mut Lab) -> Result<()> {
    let client = RealmConfig::folio_login_client(lab.admin().realm_name());
    let ui = lab.login_as(&client, "diku_admin", "diku_admin-password", "openid").await?;
    lab.expect("login", &ui, "200");
    let own = lab.exchange(ui.access()).await?;
    lab.expect("exchange", &own, "200");
    lab.fact("the vault's token shows no role", own.claims()["realm_access"].is_null());
    let id = own.claims()["keycloak_user_id"].as_str().unwrap_or_default().to_owned();
    let other = lab.impersonate(&id).await?;
    lab.expect("impersonation by Keycloak's own id", &other, "200");
    lab.fact("it is the same user", other.claims()["keycloak_user_id"] == own.claims()["keycloak_user_id"]);
    let answer = lab.introspect(VAULT, ui.access()).await?;
    lab.expect("introspection of the proof", &answer, "200 active");
    let answer = lab.exchange_by(VAULT, other.access(), REFRESH_TOKEN, &[]).await?;
    lab.expect("exchange in the session of one's own", &answer, "200");
    lab.logout(&client, ui.refresh()).await?;
    let answer = lab.refresh(VAULT, other.refresh()).await?;
    lab.expect("refresh after the user's logout", &answer, "200");
    Ok(())
}
