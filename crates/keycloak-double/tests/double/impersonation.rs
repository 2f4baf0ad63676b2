//! Sessions of the vault's own, by the legacy exchange.

use keycloak_double::{ServiceAccount, UserConfig};

use super::lab::{DETACHED, INVALID, Lab, NO_SESSION, SPENT, claims, pair, says};

const DENIED: &str = "403 access_denied: Client not allowed to exchange";

#[test]
fn every_impersonation_is_a_session_of_its_own_and_survives_the_users_logout() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let one = pair(&lab.impersonate("alice"));
    let two = pair(&lab.impersonate(claims(&ui.access)["sub"].as_str().unwrap()));
    assert_ne!(claims(&one.access)["sid"], claims(&two.access)["sid"]);
    assert_eq!(claims(&one.access)["sub"], claims(&ui.access)["sub"]);
    lab.logout("login-app", &ui.refresh);
    assert_eq!(says(&lab.refresh("tokenvault", &one.refresh)), "200");
    assert_eq!(says(&lab.exchange(&two.access)), "200");
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), NO_SESSION);
}

#[test]
fn it_is_denied_without_the_role_and_for_users_who_cannot_be() {
    let mut lab = Lab::new();
    assert_eq!(says(&lab.impersonate("nobody")), DENIED);
    lab.keycloak.set_user_enabled("lab", "alice", false).unwrap();
    assert_eq!(says(&lab.impersonate("alice")), DENIED);
    lab.keycloak.set_user_enabled("lab", "alice", true).unwrap();
    lab.keycloak.change_client("lab", "tokenvault", |c| c.service_account(ServiceAccount::Plain)).unwrap();
    assert_eq!(says(&lab.impersonate("alice")), DENIED);
}

#[test]
fn it_takes_no_notice_of_a_logout_that_already_happened() {
    let mut lab = Lab::new();
    lab.login();
    lab.seconds(2);
    let now_ms = lab.now_ms;
    lab.keycloak.logout_user("lab", "alice", now_ms).unwrap();
    assert_eq!(says(&lab.impersonate("alice")), "200");
}

#[test]
fn a_user_named_like_another_users_id_is_taken_first() {
    let mut lab = Lab::with(|realm| {
        let id = "7d7f4a33-6a01-4a3b-8d0a-6f1f3a1f9b11";
        realm
            .user(UserConfig::new("alice", "alice-password").id(id))
            .user(UserConfig::new(id, "x").id("00000000-0000-4000-8000-000000000000"))
    });
    let pair = pair(&lab.impersonate("7d7f4a33-6a01-4a3b-8d0a-6f1f3a1f9b11"));
    assert_eq!(claims(&pair.access)["sub"], "00000000-0000-4000-8000-000000000000");
}

#[test]
fn a_detached_impersonated_session_makes_the_probe_fail_and_the_access_token_look_alive() {
    let mut lab = Lab::new();
    let first = pair(&lab.impersonate("alice"));
    let second = pair(&lab.refresh("tokenvault", &first.refresh));
    lab.seconds(2);
    assert_eq!(says(&lab.refresh("tokenvault", &first.refresh)), SPENT);
    assert_eq!(
        says(&lab.probe_answer("tokenvault", &second.refresh)),
        "400 invalid_request: Failed to introspect token."
    );
    assert!(lab.introspect("tokenvault", &second.access));
    assert_eq!(says(&lab.refresh("tokenvault", &second.refresh)), DETACHED);
    assert_eq!(says(&lab.exchange(&second.access)), INVALID);
}

#[test]
fn revoking_its_token_ends_a_session_nobody_else_is_in() {
    let mut lab = Lab::new();
    let own = pair(&lab.impersonate("alice"));
    assert_eq!(says(&lab.revoke("tokenvault", &own.refresh)), "200");
    assert_eq!(says(&lab.refresh("tokenvault", &own.refresh)), NO_SESSION);
    assert!(lab.keycloak.sessions("lab", "alice").unwrap().is_empty());
}
