//! How sessions end, and what is said then.

use keycloak_double::{Endpoint, Request};

use super::lab::{DETACHED, INVALID, Lab, NO_SESSION, STALE, claims, key, pair, says};

#[test]
fn logout_with_any_token_of_the_session_ends_it_for_everybody() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    let newer = pair(&lab.refresh("tokenvault", &own.refresh));
    assert_eq!(lab.logout("tokenvault", &own.refresh).status, 204, "a spent token will do");
    assert_eq!(says(&lab.refresh("tokenvault", &newer.refresh)), NO_SESSION);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), NO_SESSION);
    assert_eq!(lab.logout("tokenvault", &own.refresh).status, 204, "and again");
}

#[test]
fn revoking_a_refresh_token_takes_its_client_session_alone() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    let sibling = pair(&lab.exchange(&ui.access));
    assert_eq!(says(&lab.revoke("tokenvault", &own.refresh)), "200");
    assert_eq!(says(&lab.refresh("tokenvault", &sibling.refresh)), DETACHED);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
    assert_eq!(says(&lab.revoke("tokenvault", &own.refresh)), "200 invalid_token: Invalid token");
    assert_eq!(says(&lab.revoke("login-app", &own.refresh)), "400 invalid_request: Unmatching clients");
}

#[test]
fn revoking_an_access_token_leaves_its_refresh_token_alone() {
    let mut lab = Lab::new();
    let ui = lab.login();
    lab.revoke("login-app", &ui.access);
    assert!(!lab.introspect("tokenvault", &ui.access));
    assert_eq!(says(&lab.exchange(&ui.access)), INVALID);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
}

#[test]
fn a_disabled_user_comes_back() {
    let mut lab = Lab::new();
    let ui = lab.login();
    lab.keycloak.set_user_enabled("lab", "alice", false).unwrap();
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "400 invalid_grant: User disabled");
    assert_eq!(says(&lab.exchange(&ui.access)), INVALID);
    assert!(!lab.probe("login-app", &ui.refresh));
    assert_eq!(says(&lab.login_answer("openid")), "400 invalid_grant: Account disabled");
    lab.keycloak.set_user_enabled("lab", "alice", true).unwrap();
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
}

#[test]
fn not_before_makes_tokens_stale_and_deletes_nothing() {
    let mut lab = Lab::new();
    let ui = lab.login();
    lab.seconds(2);
    let second = lab.now_ms / 1000;
    lab.keycloak.push_not_before("lab", second).unwrap();
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), STALE);
    assert!(!lab.probe("login-app", &ui.refresh));
    assert_eq!(says(&lab.exchange(&ui.access)), INVALID);
    lab.keycloak.push_not_before("lab", 0).unwrap();
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
}

#[test]
fn administrators_end_sessions() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.impersonate("alice"));
    lab.keycloak.delete_session("lab", claims(&ui.access)["sid"].as_str().unwrap()).unwrap();
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), NO_SESSION);
    let now_ms = lab.now_ms;
    lab.keycloak.logout_user("lab", "alice", now_ms).unwrap();
    assert_eq!(says(&lab.refresh("tokenvault", &own.refresh)), NO_SESSION);
    let ui = lab.login();
    lab.keycloak.delete_user("lab", "alice").unwrap();
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), NO_SESSION);
    assert_eq!(says(&lab.exchange(&ui.access)), INVALID);
}

#[test]
fn missing_consent_is_a_matter_of_scope() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    lab.keycloak.change_client("lab", "tokenvault", |c| c.consent_required(true)).unwrap();
    assert_eq!(
        says(&lab.exchange(&ui.access)),
        "400 invalid_scope: Missing consents for Token Exchange in client tokenvault"
    );
    assert_eq!(
        says(&lab.refresh("tokenvault", &own.refresh)),
        "400 invalid_scope: Client no longer has requested consent from user"
    );
    assert_eq!(says(&lab.impersonate("alice")), "400 invalid_client: Client requires user consent");
    assert!(lab.probe("tokenvault", &own.refresh), "the probe does not know of consent");
    lab.keycloak.change_client("lab", "tokenvault", |c| c.consent_required(false)).unwrap();
    assert_eq!(says(&lab.refresh("tokenvault", &own.refresh)), "200");
}

#[test]
fn an_idle_session_is_over_and_says_so_in_two_ways() {
    let mut lab = Lab::with(|r| r.with_settings(|s| s.sso_session_idle = 100));
    let ui = lab.login();
    lab.seconds(100);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), NO_SESSION);
    lab.seconds(1);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "400 invalid_grant: Token is not active");
}

#[test]
fn a_new_signing_key_leaves_old_tokens_good_until_the_old_key_goes() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let other = keycloak_double::SigningKey::generate().unwrap();
    lab.keycloak.rotate_signing_key("lab", other.clone()).unwrap();
    let answer = lab.keycloak.handle(0, &Request::get("/realms/lab/protocol/openid-connect/certs"));
    let kids: Vec<_> = answer.value()["keys"].as_array().unwrap().iter().map(|k| k["kid"].clone()).collect();
    assert_eq!(kids, [other.kid(), key().kid()]);
    assert_eq!(says(&lab.exchange(&ui.access)), "200");
    lab.keycloak.remove_old_signing_keys("lab").unwrap();
    assert_eq!(says(&lab.exchange(&ui.access)), INVALID);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200", "refresh tokens have a key of their own");
}

#[test]
fn offline_tokens_outlive_the_login_and_know_reuse() {
    let mut lab = Lab::with(|r| r.with_settings(|s| s.sso_session_max = 100));
    let offline = pair(&lab.login_answer("openid offline_access"));
    assert_eq!(claims(&offline.refresh)["typ"], "Offline");
    assert!(claims(&offline.refresh)["exp"].is_null());
    lab.seconds(10_000);
    let next = pair(&lab.refresh("login-app", &offline.refresh));
    assert_eq!(
        says(&lab.exchange(&next.access)),
        "400 invalid_request: Refresh token not valid as requested_token_type because creating a new session is needed"
    );
    lab.seconds(2);
    let now_ms = lab.now_ms;
    lab.keycloak.logout_user("lab", "alice", now_ms).unwrap();
    assert_eq!(says(&lab.refresh("login-app", &next.refresh)), STALE);
    assert_eq!(lab.logout("login-app", &next.refresh).status, 204);
    assert_eq!(says(&lab.refresh("login-app", &next.refresh)), "400 invalid_grant: Offline user session not found");
}

#[test]
fn clients_prove_themselves_by_form_or_by_header() {
    let mut lab = Lab::new();
    let path = "/realms/lab/protocol/openid-connect/token";
    let mut request = Request::post(path, [("grant_type", "client_credentials")]);
    request.authorization = Some("Basic dG9rZW52YXVsdDp0b2tlbnZhdWx0LXNlY3JldA==".to_owned());
    assert_eq!(says(&lab.keycloak.handle(lab.now_ms, &request)), "200");
    let wrong = [("grant_type", "client_credentials"), ("client_id", "tokenvault"), ("client_secret", "no")];
    assert_eq!(
        says(&lab.keycloak.handle(lab.now_ms, &Request::post(path, wrong))),
        "401 unauthorized_client: Invalid client or Invalid client credentials"
    );
    let unknown = [("grant_type", "client_credentials"), ("client_id", "nobody"), ("client_secret", "no")];
    assert_eq!(
        says(&lab.keycloak.handle(lab.now_ms, &Request::post(path, unknown))),
        "401 invalid_client: Invalid client or Invalid client credentials"
    );
    let introspection = Request::post(format!("{path}/introspect"), wrong);
    assert_eq!(
        says(&lab.keycloak.handle(lab.now_ms, &introspection)),
        "401 invalid_client: Client authentication failed."
    );
}

#[test]
fn the_journal_counts_sends_of_each_refresh_token() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let next = pair(&lab.refresh("login-app", &ui.refresh));
    assert_eq!(lab.keycloak.journal().most_sends(), 1);
    lab.refresh("login-app", &ui.refresh);
    let journal = lab.keycloak.journal();
    assert_eq!((journal.sends_of(&ui.refresh), journal.sends_of(&next.refresh)), (2, 0));
    assert_eq!(journal.requests(Endpoint::Refresh), 2);
    assert_eq!(journal.requests(Endpoint::Login), 1);
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let run = || {
        let mut lab = Lab::new();
        let ui = lab.login();
        claims(&pair(&lab.exchange(&ui.access)).refresh).to_string()
    };
    assert_eq!(run(), run());
}
