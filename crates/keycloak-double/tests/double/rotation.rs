//! Rotation and the detection of reuse.

use super::lab::{DETACHED, Lab, SPENT, STALE, pair, says};

#[test]
fn a_refresh_leaves_the_old_access_token_valid() {
    let mut lab = Lab::new();
    let first = lab.login();
    let second = pair(&lab.refresh("login-app", &first.refresh));
    assert_ne!(first.refresh, second.refresh);
    assert!(lab.introspect("tokenvault", &first.access));
    assert!(lab.introspect("tokenvault", &second.access));
}

#[test]
fn a_spent_token_detaches_every_chain_of_its_client_and_no_other() {
    let mut lab = Lab::new();
    let ui = lab.login();
    let spent = pair(&lab.exchange(&ui.access));
    let sibling = pair(&lab.exchange(&ui.access));
    let next = pair(&lab.refresh("tokenvault", &spent.refresh));
    lab.seconds(2);
    assert_eq!(says(&lab.refresh("tokenvault", &spent.refresh)), SPENT);
    assert_eq!(says(&lab.refresh("tokenvault", &next.refresh)), DETACHED);
    assert_eq!(says(&lab.refresh("tokenvault", &sibling.refresh)), DETACHED);
    assert!(!lab.introspect("tokenvault", &next.access));
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
}

#[test]
fn bookkeeping_is_in_whole_seconds() {
    let mut lab = Lab::new();
    let r1 = lab.login().refresh;
    let r2 = pair(&lab.refresh("login-app", &r1)).refresh;
    let r3 = pair(&lab.refresh("login-app", &r2)).refresh;
    assert_eq!(says(&lab.refresh("login-app", &r1)), "200");
    assert_eq!(says(&lab.refresh("login-app", &r3)), "200");
}

#[test]
fn an_ancestor_two_rotations_back_is_stale_and_detaches() {
    let mut lab = Lab::new();
    let r1 = lab.login().refresh;
    lab.seconds(2);
    let r2 = pair(&lab.refresh("login-app", &r1)).refresh;
    lab.seconds(2);
    let r3 = pair(&lab.refresh("login-app", &r2)).refresh;
    assert_eq!(says(&lab.refresh("login-app", &r1)), STALE);
    assert_eq!(says(&lab.refresh("login-app", &r3)), DETACHED);
}

#[test]
fn max_reuse_allows_as_many_more_sends_and_only_the_last_child_lives() {
    let mut lab = Lab::with(|realm| realm.with_settings(|s| s.refresh_token_max_reuse = 1));
    let parent = lab.login().refresh;
    lab.seconds(2);
    let elder = pair(&lab.refresh("login-app", &parent)).refresh;
    lab.seconds(2);
    let younger = pair(&lab.refresh("login-app", &parent)).refresh;
    lab.seconds(2);
    let grandchild = pair(&lab.refresh("login-app", &younger)).refresh;
    assert_eq!(says(&lab.refresh("login-app", &elder)), STALE);
    assert_eq!(says(&lab.refresh("login-app", &grandchild)), DETACHED);
}

#[test]
fn max_reuse_is_a_number_of_further_sends() {
    let mut lab = Lab::with(|realm| realm.with_settings(|s| s.refresh_token_max_reuse = 2));
    let token = lab.login().refresh;
    let sends: Vec<_> = (0..4).map(|_| says(&lab.refresh("login-app", &token))).collect();
    assert_eq!(sends, ["200", "200", "200", SPENT]);
}

#[test]
fn without_rotation_a_token_may_come_back() {
    let mut lab = Lab::with(|realm| realm.with_settings(|s| s.revoke_refresh_token = false));
    let token = lab.login().refresh;
    for _ in 0..3 {
        lab.seconds(2);
        assert_eq!(says(&lab.refresh("login-app", &token)), "200");
    }
}

#[test]
fn another_clients_token_is_refused_and_survives() {
    let mut lab = Lab::new();
    let ui = lab.login();
    assert_eq!(
        says(&lab.refresh("tokenvault", &ui.refresh)),
        "400 invalid_grant: Invalid refresh token. Token client and authorized client don't match"
    );
    assert_eq!(says(&lab.refresh("login-app", &ui.refresh)), "200");
}

#[test]
fn the_probe_tells_unspent_from_spent_and_books_nothing() {
    let mut lab = Lab::new();
    let first = lab.login();
    for _ in 0..3 {
        assert!(lab.probe("login-app", &first.refresh));
    }
    let second = pair(&lab.refresh("login-app", &first.refresh));
    lab.seconds(2);
    assert!(!lab.probe("login-app", &first.refresh));
    assert!(lab.probe("login-app", &second.refresh));
    assert!(!lab.probe("tokenvault", &second.refresh), "only the owner learns anything");
    assert!(!lab.introspect("login-app", &second.refresh), "without the hint the answer is always no");
    assert_eq!(says(&lab.refresh("login-app", &second.refresh)), "200");
}

#[test]
fn with_reuse_allowed_an_active_probe_does_not_mean_unspent() {
    let mut lab = Lab::with(|realm| realm.with_settings(|s| s.refresh_token_max_reuse = 1));
    let token = lab.login().refresh;
    lab.refresh("login-app", &token);
    assert!(lab.probe("login-app", &token));
}
