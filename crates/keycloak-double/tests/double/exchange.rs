//! Token exchange: what it gives, what it does not consume, and the one way it destroys something.

use keycloak_double::Features;

use super::lab::{self, ACCESS_TOKEN, EXCHANGE, INVALID, Lab, NO_SESSION, REFRESH_TOKEN, claims, pair, says};

#[test]
fn an_exchanged_pair_lives_beside_the_ui_in_the_same_session() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    assert_eq!(claims(&own.access)["sid"], claims(&ui.access)["sid"]);
    assert_eq!(claims(&own.access)["azp"], "tokenvault");
    assert_eq!(claims(&own.access)["user_id"], claims(&ui.access)["user_id"]);
    lab.seconds(2);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
    assert_eq!(says(&lab.refresh("tokenvault", &own.refresh)), "200");
}

#[test]
fn exchanging_ones_own_token_consumes_nothing() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let first = pair(&lab.exchange(&ui.access));
    let mut latest = first.clone();
    for _ in 0..20 {
        lab.seconds(2);
        latest = pair(&lab.exchange(&latest.access));
    }
    assert!(lab.probe("tokenvault", &first.refresh));
    assert_eq!(says(&lab.refresh("tokenvault", &first.refresh)), "200");
    assert_eq!(says(&lab.refresh("tokenvault", &latest.refresh)), "200");
}

#[test]
fn a_token_from_before_a_re_created_client_session_ends_the_whole_session() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let earlier = pair(&lab.exchange(&ui.access));
    lab.revoke("tokenvault", &earlier.refresh);
    lab.seconds(2);
    let later = pair(&lab.exchange(&ui.access));
    assert!(!lab.probe("tokenvault", &earlier.refresh));
    assert!(!lab.introspect("tokenvault", &earlier.access));
    assert_eq!(
        says(&lab.refresh("tokenvault", &earlier.refresh)),
        "400 invalid_grant: refresh token issued before the client session started"
    );
    assert!(lab.probe("tokenvault", &later.refresh), "all of that was harmless");

    assert_eq!(says(&lab.exchange(&earlier.access)), INVALID);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), NO_SESSION);
    assert_eq!(says(&lab.refresh("tokenvault", &later.refresh)), NO_SESSION);
}

#[test]
fn a_token_whose_client_session_is_merely_gone_ends_nothing() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    lab.revoke("tokenvault", &own.refresh);
    lab.seconds(2);
    assert_eq!(says(&lab.exchange(&own.access)), INVALID);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
}

#[test]
fn only_refresh_tokens_keep_the_session_awake() {
    let mut lab = Lab::with(|r| {
        r.with_settings(|s| {
            s.sso_session_idle = 100;
            s.access_token_lifespan = 1000;
        })
    });
    let ui = lab.login();
    pair(&lab.exchange(&ui.access));
    lab.seconds(60);
    pair(&lab.exchange_with(&ui.access, ACCESS_TOKEN, &[]));
    lab.seconds(60);
    assert_eq!(says(&lab.exchange(&ui.access)), INVALID, "the access token's exchange did not count");

    let ui = lab.login();
    pair(&lab.exchange(&ui.access));
    lab.seconds(60);
    let own = pair(&lab.exchange(&ui.access));
    lab.seconds(60);
    assert_eq!(says(&lab.exchange(&own.access)), "200");
}

#[test]
fn a_client_session_times_out_by_itself_and_its_access_tokens_with_it() {
    let mut lab = Lab::with(|r| {
        r.with_settings(|s| {
            s.sso_session_idle = 100;
            s.access_token_lifespan = 1000;
        })
    });
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    lab.seconds(60);
    let next = pair(&lab.refresh("login-app", &ui.refresh));
    lab.seconds(60);
    assert_eq!(says(&lab.exchange(&own.access)), INVALID);
    assert_eq!(says(&lab.exchange(&next.access)), "200", "and that made the vault's client session anew");
    assert_eq!(says(&lab.exchange(&own.access)), INVALID);
    assert_eq!(says(&lab.refresh("login-app", &next.refresh)), NO_SESSION, "so that this ended everything");
}

#[test]
fn lives_are_cut_to_the_sessions_end() {
    let mut lab = Lab::with(|r| {
        r.with_settings(|s| {
            s.sso_session_max = 1000;
            s.sso_session_idle = 800;
        })
    });
    let ui = lab.login_answer("openid").value();
    assert_eq!((&ui["expires_in"], &ui["refresh_expires_in"]), (&600.into(), &800.into()));
    lab.seconds(500);
    let later = lab.exchange(ui["access_token"].as_str().unwrap()).value();
    assert_eq!((&later["expires_in"], &later["refresh_expires_in"]), (&500.into(), &500.into()));
    lab.seconds(499);
    assert_eq!(says(&lab.exchange(later["access_token"].as_str().unwrap())), "200");
    lab.seconds(1);
    assert_eq!(says(&lab.exchange(later["access_token"].as_str().unwrap())), INVALID);
}

#[test]
fn refusals_are_in_keycloaks_words() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    for (more, words) in [
        ([("audience", "nobody")], "400 invalid_client: Audience not found"),
        ([("audience", "login-app")], "400 invalid_request: Requested audience not available: login-app"),
        ([("scope", "nonsense")], "400 invalid_scope: Invalid scopes: nonsense"),
        (
            [("scope", "openid offline_access")],
            "400 invalid_request: Scope offline_access not allowed for token exchange",
        ),
    ] {
        assert_eq!(says(&lab.exchange_with(&ui.access, REFRESH_TOKEN, &more)), words);
    }
    assert_eq!(
        says(&lab.exchange_with(&ui.access, "nonsense", &[])),
        "400 invalid_request: requested_token_type unsupported"
    );
    assert_eq!(says(&lab.exchange(&own.refresh)), INVALID);
    assert_eq!(says(&lab.exchange("garbage")), INVALID);
    assert_eq!(says(&lab.exchange(&own.access)), "200", "none of it hurt");
}

#[test]
fn a_client_that_is_not_named_in_the_audience_may_not_exchange() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    let form = [("grant_type", EXCHANGE), ("subject_token", &own.access), ("subject_token_type", ACCESS_TOKEN)];
    assert_eq!(
        says(&lab.post("token", "login-app", &form)),
        "403 access_denied: Client is not within the token audience"
    );
}

#[test]
fn without_the_legacy_feature_a_client_needs_the_standard_one() {
    let mut lab = Lab::with_features(Features { token_exchange_v1: false }, |realm| {
        realm.with_client("tokenvault", keycloak_double::ClientConfig::no_token_exchange)
    });
    let ui = lab.login();
    assert_eq!(
        says(&lab.exchange(&ui.access)),
        "400 invalid_request: Standard token exchange is not enabled for the requested client"
    );
    assert_eq!(
        says(&lab.impersonate("alice")),
        "400 invalid_request: Parameter 'requested_subject' is not supported for standard token exchange"
    );
}

#[test]
fn revoking_a_token_reaches_what_was_exchanged_from_its_client() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let own = pair(&lab.exchange(&ui.access));
    lab.revoke("login-app", &ui.access);
    assert_eq!(says(&lab.refresh("tokenvault", &own.refresh)), lab::DETACHED);
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");

    let ui = lab.login();
    let first = pair(&lab.exchange(&ui.access));
    let second = pair(&lab.exchange(&first.access));
    lab.revoke("tokenvault", &first.access);
    assert_eq!(says(&lab.refresh("tokenvault", &second.refresh)), lab::DETACHED);
}
