//! What tokens say of their user, and what they hide.

use keycloak_double::{ClientConfig, Mapper, RealmConfig, Role, ServiceAccount, UserConfig};
use serde_json::{Value, json};

use super::lab::{self, ACCESS_TOKEN, INVALID, Lab, REFRESH_TOKEN, claims, pair, says};

const DENIED: &str = "403 access_denied: Client not allowed to exchange";

fn introspected(lab: &mut Lab, token: &str) -> Value {
    lab.post("token/introspect", "tokenvault", &[("token", token)]).value()
}

/// FOLIO's realm, its user's proof, and the vault's pair by exchange.
fn folio() -> (Lab, lab::Pair, lab::Pair) {
    let mut lab = Lab::of(RealmConfig::folio_like("lab"));
    let form = [("grant_type", "password"), ("username", "diku_admin"), ("password", "diku_admin-password")];
    let ui = pair(&lab.post("token", "lab-login-application", &form));
    let own = pair(&lab.exchange_with(&ui.access, REFRESH_TOKEN, &[]));
    (lab, ui, own)
}

#[test]
fn folios_proof_says_little_and_names_the_user_by_name() {
    let (_, ui, own) = folio();
    let (proof, vaults) = (claims(&ui.access), claims(&own.access));
    let members: Vec<&str> = proof.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, ["aud", "azp", "exp", "iat", "iss", "jti", "scope", "sid", "sub", "typ", "user_id"]);
    assert_eq!(proof["sub"], "diku_admin");
    assert_eq!(claims(&ui.refresh)["sub"], "diku_admin");
    assert_eq!(vaults["sub"], vaults["keycloak_user_id"]);
    assert_eq!((&vaults["sid"], &vaults["user_id"]), (&proof["sid"], &proof["user_id"]));
    assert!(vaults["realm_access"].is_null() && vaults["resource_access"].is_null());
}

#[test]
fn introspection_of_a_proof_shows_roles_that_it_hides_and_its_client_sees() {
    let (mut lab, ui, _) = folio();
    let seen = introspected(&mut lab, &ui.access);
    assert_eq!(
        seen["realm_access"]["roles"],
        json!(["adminRole", "default-roles-lab", "offline_access", "uma_authorization"])
    );
    assert!(seen["resource_access"]["realm-management"].is_null());
    lab.keycloak.grant_role("lab", "diku_admin", Role::management("view-users")).unwrap();
    let managed = introspected(&mut lab, &ui.access)["resource_access"]["realm-management"]["roles"].clone();
    assert_eq!(managed, json!(["query-groups", "query-users", "view-users"]));
    lab.keycloak.change_client("lab", "lab-login-application", |c| c.full_scope(false)).unwrap();
    let seen = introspected(&mut lab, &ui.access);
    assert!(seen["active"] == true && seen["realm_access"].is_null() && seen["resource_access"].is_null());
}

#[test]
fn a_client_without_full_scope_impersonates_only_with_the_role_in_its_scope() {
    let (mut lab, _, own) = folio();
    let id = claims(&own.access)["keycloak_user_id"].as_str().unwrap().to_owned();
    assert_eq!(says(&lab.impersonate(&id)), "200");
    let account = ClientConfig::new("tokenvault", "tokenvault-secret").service_account(ServiceAccount::Impersonating);
    let unmapped = account.full_scope(false).audience("tokenvault");
    let mut lab = Lab::of(RealmConfig::folio_like("lab").client(unmapped));
    assert_eq!(says(&lab.impersonate("diku_admin")), DENIED);
}

#[test]
fn a_rename_changes_the_name_and_a_written_attribute_changes_the_user_id_but_never_keycloaks_own() {
    let (mut lab, ui, own) = folio();
    let before = claims(&own.access);
    lab.keycloak.set_attribute("lab", "diku_admin", "user_id", "somebody else").unwrap();
    lab.keycloak.set_attribute("lab", "diku_admin", "id", "somebody else").unwrap();
    lab.keycloak.rename_user("lab", "diku_admin", "renamed").unwrap();
    let ui = pair(&lab.refresh("lab-login-application", &ui.refresh));
    let after = claims(&pair(&lab.exchange(&own.access)).access);
    assert_eq!(claims(&ui.access)["sub"], "renamed");
    assert_eq!(after["user_id"], "somebody else");
    assert_eq!(after["keycloak_user_id"], before["keycloak_user_id"]);
}

#[test]
fn names_stay_where_the_realm_does_not_let_them_be_changed() {
    let mut lab = Lab::new();
    lab.keycloak.rename_user("lab", "alice", "alicia").unwrap();
    assert!(lab.keycloak.user_id("lab", "alice").is_ok());
    let (mut lab, ..) = folio();
    lab.keycloak.add_user("lab", UserConfig::new("taken", "x")).unwrap();
    assert!(lab.keycloak.rename_user("lab", "diku_admin", "taken").is_err());
    assert!(lab.keycloak.user_id("lab", "diku_admin").is_ok());
}

#[test]
fn a_lightweight_token_without_its_mappers_is_no_ones_to_exchange() {
    let mut lab = Lab::with(|realm| realm.with_client("login-app", |c| c.lightweight(true)));
    let ui = lab.login();
    assert!(claims(&ui.access)["sub"].is_null());
    let words = "403 access_denied: Client is not within the token audience";
    assert_eq!(says(&lab.exchange(&ui.access)), words);
}

#[test]
fn a_name_for_sub_hides_a_service_account_in_lightweight_tokens() {
    let by_name = Mapper::property("username", "sub").in_lightweight_tokens();
    let mut lab = Lab::with(|realm| realm.with_client("tokenvault", |c| c.lightweight(true).mapper(by_name.clone())));
    let service = lab.service_token();
    assert_eq!(says(&lab.exchange_with(&service, ACCESS_TOKEN, &[])), INVALID);
    let mut lab = Lab::with(|realm| realm.with_client("tokenvault", |c| c.mapper(by_name)));
    let service = lab.service_token();
    assert_eq!(says(&lab.exchange_with(&service, ACCESS_TOKEN, &[])), "200");
}
