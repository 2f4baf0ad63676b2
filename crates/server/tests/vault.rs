//! The use cases and the reconciler on the stand-in for Keycloak, in moments instead of hours.

mod children;
mod doors;
mod identity;
mod lists;
mod overtaken;
mod repeats;
mod stage;
mod taken_out;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{ClientConfig, Endpoint, Fault, Moment, RealmConfig, RealmSettings, UserConfig};
use stage::{LIFE, REALM, Stage, caller, job, request};
use tokenvault_core::ids::{Fence, Generation, ModuleName};
use tokenvault_core::ports::JobStore;
use tokenvault_core::record::{Acquisition, EndReason, OnLogout, State, Suspension};
use tokenvault_core::seal::Keyring;
use tokenvault_vault::jobs::{ReadAnswer, ReadRequest};
use tokenvault_vault::keyring::KeyringState;
use tokenvault_vault::problem::Code;
use tokenvault_vault::tenants::TenantRules;

const WAIT: Duration = Duration::from_secs(4);

fn without_exchange(mut rules: TenantRules) -> TenantRules {
    rules.renewal.may_exchange = false;
    rules
}

#[tokio::test]
async fn an_exchanged_job_is_renewed_by_exchange_and_spends_nothing() {
    let stage = Stage::set().await;
    let mut ui = stage.login().await;
    assert!(stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job").created);
    for generation in 2..=10 {
        stage.pass(LIFE * 6 / 10);
        stage.until("a", |record| record.generation == Generation(generation)).await;
        let token = stage.read("a", Duration::ZERO).await.expect("a token");
        assert!(token.expires_in > LIFE / 2);
    }
    assert_eq!(stage.keycloak.journal().most_sends(), 0, "no refresh token was spent");
    assert!(stage.ui_lives(&mut ui).await);
}

#[tokio::test]
async fn a_reader_of_an_expired_token_waits_and_a_hundred_cost_one_renewal() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.pass(LIFE * 5);
    let reads = futures::future::join_all((0..100).map(|_| stage.read("a", WAIT))).await;
    for token in reads {
        assert_eq!(token.expect("a token").generation, Generation(2));
    }
    assert_eq!(stage.keycloak.journal().most_sends(), 1, "an expired token is replaced by one spend");
}

#[tokio::test]
async fn a_lost_answer_to_a_spend_is_made_good_by_the_spare() {
    let stage = Stage::set().await;
    let mut ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.generation == Generation(2)).await;
    stage.keycloak.faults().next(Endpoint::Refresh, Fault::Drop(Moment::After));
    stage.pass(LIFE * 5);
    let token = stage.read("a", WAIT).await.expect("a token");
    assert_eq!(token.generation, Generation(3));
    assert_eq!(stage.keycloak.journal().most_sends(), 1, "no refresh token was sent twice");
    assert!(stage.ui_lives(&mut ui).await);
}

#[tokio::test]
async fn a_lost_answer_without_a_spare_ends_in_a_typed_end_and_a_new_registration_revives_the_job() {
    let stage = Stage::with(without_exchange, |realm| realm).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    stage.keycloak.faults().next(Endpoint::Refresh, Fault::Drop(Moment::After));
    stage.pass(LIFE * 6 / 10);
    stage
        .until("a", |record| record.intent.is_some() && record.due_at.is_some_and(|due| due > record.created_at + LIFE))
        .await;
    stage.pass(Duration::from_secs(31));
    stage.until("a", |record| record.state == State::Ended(EndReason::SpendLost)).await;
    let problem = stage.read("a", WAIT).await.expect_err("an end");
    assert_eq!((problem.code, problem.members["reason"].as_str()), (Code::ReauthRequired, Some("spend_lost")));
    assert_eq!(stage.keycloak.journal().most_sends(), 1);
    let again = stage.login().await;
    assert!(stage.register("a", request(&again, Acquisition::Exchange)).await.expect("a job").created);
    assert!(stage.read("a", WAIT).await.expect("a token").generation > Generation(1), "generations never restart");
}

#[tokio::test]
async fn a_5xx_to_an_exchange_costs_nothing() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.keycloak.faults().next_n(Endpoint::Exchange, 3, Fault::Status(Moment::After, 500));
    stage.pass(LIFE * 6 / 10);
    for _ in 0..40 {
        stage.pass(Duration::from_millis(300));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.until("a", |record| record.generation > Generation(1)).await;
    assert_eq!(stage.keycloak.journal().most_sends(), 0);
}

#[tokio::test]
async fn a_client_that_may_not_exchange_spends_until_one_job_or_a_registration_hears_that_it_may_again() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    for job in ["a", "b"] {
        stage.register(job, request(&ui, Acquisition::Exchange)).await.expect("a job");
    }
    let switch = |on: bool| {
        let change = |client: ClientConfig| {
            if on { client.token_exchange() } else { client.token_exchange_without_refresh_tokens() }
        };
        stage
            .keycloak
            .handle()
            .with(|keycloak, _| keycloak.change_client(REALM, "tokenvault", change))
            .expect("it is there");
    };
    let exchanges = || stage.keycloak.journal().requests(Endpoint::Exchange);
    let renewed = async |generation, time| {
        stage.pass(time);
        for job in ["a", "b"] {
            stage.until(job, |record| record.generation == Generation(generation)).await;
        }
        exchanges()
    };
    let round = LIFE * 6 / 10;

    switch(false);
    let refused = renewed(2, round).await;
    // A registration makes two exchanges: the second is for the spare.
    assert!((5..=6).contains(&refused), "each asks once at most: {refused}");
    assert_eq!(renewed(3, round).await, refused, "nobody asks any more");
    switch(true);
    assert_eq!(renewed(4, round).await, refused, "nobody knows");
    assert_eq!(renewed(5, Duration::from_mins(10)).await, refused, "dead tokens cannot be exchanged");
    assert!(renewed(6, round).await > refused, "one asks");
    let before = exchanges();
    assert_eq!(renewed(7, round).await, before + 2, "what it heard holds for both");

    switch(false);
    let refused = renewed(8, round).await;
    switch(true);
    assert_eq!(renewed(9, round).await, refused);
    stage.register("c", request(&stage.login().await, Acquisition::Exchange)).await.expect("a job");
    assert!(renewed(10, round).await >= refused + 4, "the registration has told them");
}

#[tokio::test]
async fn after_an_outage_what_dies_first_is_renewed_before_it_dies() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let names: Vec<String> = (0..12).map(|number| format!("job-{number}")).collect();
    for name in &names {
        stage.register(name, request(&ui, Acquisition::Exchange)).await.expect("a job");
        stage.pass(Duration::from_secs(1));
    }
    stage.keycloak.faults().every(Endpoint::Introspect, Fault::Status(Moment::Before, 503));
    // The first dies 60 s after it was registered, the last 12 s later; all fail again and again meanwhile.
    let restored = stage.now() + Duration::from_secs(41);
    while stage.now() < restored {
        stage.pass(Duration::from_millis(250));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(stage.record(&names[11]).await.failures > 0, "they have backed off");
    stage.keycloak.faults().clear();
    for _ in 0..80 {
        stage.pass(Duration::from_millis(250));
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    for name in &names {
        assert!(stage.record(name).await.generation > Generation(1), "{name}");
    }
    assert_eq!(stage.keycloak.journal().most_sends(), 0, "none died: nothing was spent");
}

#[tokio::test]
async fn a_reader_who_asks_for_too_much_is_told_what_there_is() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.keycloak.faults().every(Endpoint::Introspect, Fault::Status(Moment::Before, 503));
    stage.pass(LIFE / 2);
    let ask = |min_ttl| ReadRequest { min_ttl: Some(Duration::from_secs(min_ttl)), wait: Duration::ZERO, known: None };
    let problem = stage.vault.read(&caller("mod-di"), &job("a"), ask(45)).await.expect_err("it is too old");
    assert_eq!(problem.code, Code::TokenNotReady);
    assert!(problem.detail.contains(" s left"), "{}", problem.detail);
    assert!(stage.vault.read(&caller("mod-di"), &job("a"), ask(20)).await.is_ok(), "as it was told");
    stage.pass(LIFE / 2);
    let problem = stage.vault.read(&caller("mod-di"), &job("a"), ask(45)).await.expect_err("it is dead");
    assert!(!problem.detail.contains("left"), "{}", problem.detail);
}

#[tokio::test]
async fn the_users_logout_ends_an_exchanged_job_and_says_why() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.logout(&ui).await;
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| !record.state.is_live()).await;
    let problem = stage.read("a", WAIT).await.expect_err("an end");
    assert_eq!((problem.code, problem.members["reason"].as_str()), (Code::SessionEnded, Some("session_not_active")));
}

#[tokio::test]
async fn an_impersonated_job_survives_the_logout_only_where_it_was_told_to() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("goes-on", request(&ui, Acquisition::Impersonate)).await.expect("a job");
    let mut ends = request(&ui, Acquisition::Impersonate);
    ends.on_logout = Some(OnLogout::Revoke);
    stage.register("ends", ends).await.expect("a job");
    stage.pass(LIFE * 6 / 10);
    stage.until("ends", |record| record.generation == Generation(2)).await;
    stage.logout(&ui).await;
    stage.pass(LIFE * 6 / 10);
    stage.until("ends", |record| record.state == State::Ended(EndReason::SessionNotActive)).await;
    stage.until("goes-on", |record| record.generation >= Generation(3)).await;
    assert!(stage.read("goes-on", WAIT).await.is_ok());
    let sessions = stage.keycloak.handle().with(|keycloak, _| keycloak.sessions(REALM, "alice")).expect("sessions");
    assert_eq!(sessions.len(), 1, "the ended job's own session was revoked");
}

#[tokio::test]
async fn a_logged_out_users_token_buys_nothing() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.logout(&ui).await;
    for acquisition in [Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt] {
        let problem = stage.register("a", request(&ui, acquisition)).await.expect_err("a refusal");
        assert_eq!(problem.code, Code::TokenRejected, "{acquisition:?}: {problem:?}");
    }
    let sessions = stage.keycloak.handle().with(|keycloak, _| keycloak.sessions(REALM, "alice")).expect("sessions");
    assert!(sessions.is_empty());
}

#[tokio::test]
async fn release_revokes_a_session_of_the_vaults_own_and_leaves_the_users_alone() {
    let stage = Stage::set().await;
    let mut ui = stage.login().await;
    for (name, acquisition) in [("x", Acquisition::Exchange), ("i", Acquisition::Impersonate)] {
        stage.register(name, request(&ui, acquisition)).await.expect("a job");
        stage.vault.release(&caller("mod-di"), &job(name)).await.expect("released");
        stage.vault.release(&caller("mod-di"), &job(name)).await.expect("released twice is released once");
        stage.until(name, |record| record.state == State::Ended(EndReason::Released) && record.pair.is_none()).await;
        assert_eq!(stage.read(name, WAIT).await.expect_err("an end").code, Code::JobEnded);
        assert!(stage.ui_lives(&mut ui).await);
    }
    let sessions = stage.keycloak.handle().with(|keycloak, _| keycloak.sessions(REALM, "alice")).expect("sessions");
    assert_eq!(sessions.len(), 1, "only the user's own session is left");
    // A new job in the same session, after a release, hurts neither the session nor itself.
    stage.register("x2", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.pass(LIFE * 6 / 10);
    stage.until("x2", |record| record.generation == Generation(2)).await;
    assert!(stage.ui_lives(&mut ui).await);
}

#[tokio::test]
async fn an_adopted_job_of_a_client_that_may_not_exchange_spends_each_token_once() {
    let stage = Stage::with(without_exchange, |realm| realm).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    for generation in 2..=6 {
        stage.pass(LIFE * 6 / 10);
        stage.until("a", |record| record.generation == Generation(generation)).await;
    }
    assert_eq!(stage.keycloak.journal().most_sends(), 1);
    assert_eq!(stage.keycloak.journal().distinct_refresh_tokens(), 5);
}

/// RFC 6749 §6: an answer without a new refresh token leaves the old one in use.
#[tokio::test]
async fn a_job_whose_refreshes_bring_no_new_token_goes_on_with_the_one_it_has() {
    let stage = Stage::with(without_exchange, |realm| {
        realm
            .with_settings(|settings| settings.revoke_refresh_token = false)
            .with_client("login-app", ClientConfig::gives_no_next_token)
    })
    .await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    for generation in 2..=5 {
        stage.pass(LIFE * 6 / 10);
        stage.until("a", |record| record.generation == Generation(generation)).await;
    }
    assert_eq!(stage.keycloak.journal().distinct_refresh_tokens(), 1);
    assert!(stage.read("a", WAIT).await.is_ok());
}

/// Where the realm rotates as well, the one it has is spent. Sent again it would end the client's part of the session.
#[tokio::test]
async fn a_token_that_was_sent_and_not_replaced_is_not_sent_again_where_it_is_spent() {
    let stage =
        Stage::with(without_exchange, |realm| realm.with_client("login-app", ClientConfig::gives_no_next_token)).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.generation == Generation(2)).await;
    for _ in 0..3 {
        stage.pass(LIFE * 6 / 10);
        stage.until("a", |record| record.due_at.is_none_or(|due| due > stage.now())).await;
    }
    assert_eq!(stage.keycloak.journal().most_sends(), 1);
    assert!(
        stage.record("a").await.state.is_live(),
        "it may be active again, and its access token was good to the end"
    );
}

#[tokio::test]
async fn a_store_that_loses_the_write_of_a_spend_is_told_again_and_the_spent_token_is_not_sent() {
    let stage = Stage::with(without_exchange, |realm| realm).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    stage.pass(LIFE * 6 / 10);
    let before = stage.until("a", |record| record.generation == Generation(2)).await;
    let snapshot = stage.store.snapshot();
    stage.pass(LIFE * 6 / 10);
    let newest = stage.until("a", |record| record.generation == Generation(3)).await;

    stage.store.restore(snapshot);
    assert_eq!(stage.record("a").await.pair, before.pair, "the store has gone back");
    stage.pass(Duration::from_secs(10));

    stage.until("a", |record| record.generation >= Generation(3) && record.intent.is_none()).await;
    assert_eq!(stage.record("a").await.spare, newest.spare);
    stage.pass(LIFE);
    stage.until("a", |record| record.generation == Generation(4)).await;
    assert_eq!(stage.keycloak.journal().most_sends(), 1);
    assert!(stage.read("a", WAIT).await.is_ok());
}

#[tokio::test]
async fn a_disabled_user_suspends_the_job_and_enabling_brings_it_back() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let enable = |yes| {
        stage.keycloak.handle().with(|keycloak, _| keycloak.set_user_enabled(REALM, "alice", yes)).expect("alice");
    };
    enable(false);
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.state == State::Suspended(Suspension::UserDisabled)).await;
    enable(true);
    stage.pass(Duration::from_secs(5));
    stage.until("a", |record| record.state == State::Active && record.generation == Generation(2)).await;
}

#[tokio::test]
async fn a_registration_can_be_repeated_late_and_only_by_its_owner() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let mut first = request(&ui, Acquisition::Exchange);
    first.readers = Some([ModuleName::parse("mod-srm").expect("a module")].into());
    stage.register("a", first.clone()).await.expect("a job");
    stage.pass(LIFE * 3);
    let answer = stage.register("a", first).await.expect("the job, though the proof has expired");
    assert!(!answer.created && answer.job.readers.len() == 1);
    let read = ReadRequest { min_ttl: None, wait: WAIT, known: None };
    assert!(stage.vault.read(&caller("mod-srm"), &job("a"), read).await.is_ok(), "the reader reads");
    let ui = stage.login().await;
    let stranger = stage.vault.register(&caller("mod-x"), job("a"), request(&ui, Acquisition::Exchange)).await;
    assert_eq!(stranger.expect_err("a conflict").code, Code::JobConflict);
    let unseen = stage.vault.read(&caller("mod-x"), &job("a"), read).await;
    assert_eq!(unseen.expect_err("not found").code, Code::JobNotFound);
    let release = stage.vault.release(&caller("mod-srm"), &job("a")).await;
    assert_eq!(release.expect_err("a reader may not release").code, Code::JobNotFound);
}

#[tokio::test]
async fn children_share_their_parents_pair_within_its_limits() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("parent", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let child = |access: &stage::Login| {
        let mut request = request(access, Acquisition::Exchange);
        request.acquisition = None;
        request.parent_job_id = Some(job("parent"));
        request
    };
    for name in ["c1", "c2"] {
        stage.register(name, child(&ui)).await.expect("a child");
        let (theirs, own) =
            (stage.read("parent", WAIT).await.expect("a token"), stage.read(name, WAIT).await.expect("a token"));
        assert_eq!(theirs.access_token.expose(), own.access_token.expose());
        assert_eq!(own.job_id, job(name));
    }
    assert_eq!(stage.register("c3", child(&ui)).await.expect_err("too many").code, Code::Unsupported);
    let foreign = stage.vault.register(&caller("mod-x"), job("c4"), child(&ui)).await;
    assert_eq!(foreign.expect_err("not its parent").code, Code::JobNotFound);
    let mut late = child(&ui);
    late.expires_at = Some(stage.record("parent").await.expires_at + Duration::from_secs(1));
    assert_eq!(stage.register("c5", late).await.expect_err("too late").code, Code::ExpiresAtTooLate);
    stage.vault.release(&caller("mod-di"), &job("parent")).await.expect("released");
    assert_eq!(stage.read("c1", WAIT).await.expect_err("its parent's end").code, Code::JobEnded);
}

#[tokio::test]
async fn what_the_caller_knows_is_not_sent_again_while_it_is_good_enough() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let read = ReadRequest { min_ttl: None, wait: WAIT, known: Some(Generation(1)) };
    let answer = stage.vault.read(&caller("mod-di"), &job("a"), read).await.expect("an answer");
    assert!(matches!(answer, ReadAnswer::NotModified(Generation(1))));
    let more = ReadRequest { min_ttl: Some(LIFE.saturating_sub(Duration::from_secs(2))), ..read };
    stage.pass(Duration::from_secs(10));
    let answer = stage.vault.read(&caller("mod-di"), &job("a"), more).await.expect("an answer");
    assert!(matches!(answer, ReadAnswer::Token(token) if token.generation == Generation(2)));
}

#[tokio::test]
async fn a_job_ends_at_its_own_end() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let mut short = request(&ui, Acquisition::Impersonate);
    short.expires_at = Some(stage.now() + Duration::from_secs(20));
    stage.register("a", short).await.expect("a job");
    stage.pass(Duration::from_secs(21));
    assert_eq!(stage.read("a", WAIT).await.expect_err("an end").code, Code::JobEnded);
    stage.until("a", |record| record.state == State::Ended(EndReason::Expired)).await;
}

#[tokio::test]
async fn a_job_begun_before_its_neighbour_learns_of_a_revocation_outlives_it() {
    let stage = Stage::set().await;
    let mut ui = stage.login().await;
    stage.register("old", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let (status, _) = stage.post("revoke", &[("token", &ui.access)]).await;
    assert_eq!(status, 200, "whatever was exchanged from it is gone as well");
    stage.pass(Duration::from_secs(5));
    assert!(stage.ui_lives(&mut ui).await);
    stage.register("new", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.pass(LIFE * 6 / 10);
    stage.until("old", |record| record.state == State::Ended(EndReason::ClientSessionGone)).await;
    for generation in 2..=4 {
        stage.until("new", |record| record.generation >= Generation(generation) || !record.state.is_live()).await;
        assert_eq!(stage.record("new").await.state, State::Active);
        stage.pass(LIFE * 6 / 10);
    }
    assert!(stage.ui_lives(&mut ui).await);
}

/// A second user interface, whose tokens the first one may exchange: one way for a client to come into a session again.
fn with_a_portal(realm: RealmConfig) -> RealmConfig {
    let portal = ClientConfig::new("portal", "portal-secret").direct_access_grants().audience("login-app");
    realm.with_client("login-app", ClientConfig::token_exchange).client(portal)
}

#[tokio::test]
async fn a_token_from_before_its_own_clients_session_was_made_anew_is_refused_and_ends_nothing() {
    let stage = Stage::with(|rules| rules, with_a_portal).await;
    let portal = stage.login_at("portal", "alice").await;
    let earlier = stage.exchanged(&portal).await;
    stage.post("revoke", &[("token", &earlier.refresh)]).await;
    stage.pass(Duration::from_secs(5));
    let mut ui = stage.exchanged(&portal).await;

    for acquisition in [Acquisition::Exchange, Acquisition::Impersonate] {
        let refused = stage.register("a", request(&earlier, acquisition)).await.expect_err("a stale proof");
        assert_eq!(refused.code, Code::TokenRejected);
    }
    assert!(stage.ui_lives(&mut ui).await, "sent for exchange, it would have ended the user's session");
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
}

#[tokio::test]
async fn a_job_registered_by_exchange_has_a_spare_from_the_first_pair_on() {
    let stage = Stage::set().await;
    let mut ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    assert_eq!(stage.record("a").await.spare.map(|spare| spare.sends), Some(0));

    // Nobody renews it before its access token is dead, and then the answer to what must be spent is lost.
    stage.keycloak.faults().next(Endpoint::Refresh, Fault::Drop(Moment::After));
    stage.pass(LIFE * 5);
    assert_eq!(stage.read("a", WAIT).await.expect("a token").generation, Generation(2));
    assert_eq!(stage.keycloak.journal().most_sends(), 1, "no refresh token was sent twice");
    assert!(stage.ui_lives(&mut ui).await);
}

#[tokio::test]
async fn a_deposited_token_that_its_owner_has_spent_is_not_sent_again() {
    let stage = Stage::set().await;
    let mut ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    assert!(stage.ui_lives(&mut ui).await, "the user interface rotates the chain that it deposited");
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.lost_since.is_some()).await;
    assert!(stage.read("a", Duration::ZERO).await.is_err(), "what may be of a dead session is not served");
    stage.pass(Duration::from_secs(6));
    stage.until("a", |record| record.state == State::Ended(EndReason::SessionLost)).await;
    assert_eq!(stage.keycloak.journal().most_sends(), 1);
    assert!(stage.ui_lives(&mut ui).await, "its session is none of the vault's to end");
}

#[tokio::test]
async fn a_deposited_token_near_its_end_says_nothing_of_how_long_the_next_one_lives() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.pass(LIFE / 2);
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    let read = ReadRequest { min_ttl: Some(LIFE * 2 / 3), wait: WAIT, known: None };
    let answer = stage.vault.read(&caller("mod-di"), &job("a"), read).await.expect("a renewed token");
    assert!(matches!(answer, ReadAnswer::Token(token) if token.expires_in >= LIFE * 2 / 3));
}

#[tokio::test]
async fn a_child_gives_out_nothing_that_its_reader_may_not_read_at_the_parent() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let mut parent = request(&ui, Acquisition::Exchange);
    parent.readers = Some([ModuleName::parse("mod-srm").expect("a module")].into());
    stage.register("parent", parent.clone()).await.expect("a job");
    let mut child = request(&ui, Acquisition::Exchange);
    (child.acquisition, child.parent_job_id) = (None, Some(job("parent")));
    stage.vault.register(&caller("mod-srm"), job("child"), child).await.expect("a child");
    let read = ReadRequest { min_ttl: None, wait: WAIT, known: None };
    assert!(stage.vault.read(&caller("mod-srm"), &job("child"), read).await.is_ok());
    parent.readers = Some([ModuleName::parse("mod-x").expect("a module")].into());
    stage.register("parent", parent).await.expect("amended");
    let problem = stage.vault.read(&caller("mod-srm"), &job("child"), read).await.expect_err("no reader any more");
    assert_eq!(problem.code, Code::JobNotFound);
}

#[tokio::test]
async fn a_child_does_not_follow_its_parents_id_to_another_user() {
    let short = |mut rules: TenantRules| {
        rules.renewal.tombstone_ttl = Duration::from_mins(1);
        rules
    };
    let bob = UserConfig::new("bob", "bob-password").user_id("9a5e3f0e-0c6a-4d0e-8f57-0b1a7c0f1b2c");
    let stage = Stage::with(short, |realm| realm.user(bob)).await;
    let alice = stage.login().await;
    stage.register("parent", request(&alice, Acquisition::Exchange)).await.expect("a job");
    let mut child = request(&alice, Acquisition::Exchange);
    (child.acquisition, child.parent_job_id) = (None, Some(job("parent")));
    stage.register("child", child).await.expect("a child");
    stage.vault.release(&caller("mod-di"), &job("parent")).await.expect("released");
    stage.pass(Duration::from_mins(2));
    let bob = stage.login_as("bob").await;
    stage.register("parent", request(&bob, Acquisition::Exchange)).await.expect("the id is free again");
    assert_eq!(stage.read("child", WAIT).await.expect_err("not bob's token").code, Code::JobEnded);
}

#[tokio::test]
async fn a_child_may_take_the_place_of_a_job_that_must_be_registered_again() {
    let stage = Stage::with(without_exchange, |realm| realm).await;
    let ui = stage.login().await;
    stage.register("parent", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.register("a", request(&ui, Acquisition::Adopt)).await.expect("a job");
    // The parent may lose two answers, for it has a spare.
    stage.keycloak.faults().next_n(Endpoint::Refresh, 3, Fault::Drop(Moment::After));
    stage.pass(LIFE * 6 / 10);
    stage.until("a", |record| record.intent.is_some()).await;
    stage.pass(Duration::from_secs(31));
    stage.until("a", |record| record.state == State::Ended(EndReason::SpendLost)).await;
    let again = stage.login().await;
    stage.register("other", request(&again, Acquisition::Exchange)).await.expect("a job");
    let mut child = request(&again, Acquisition::Exchange);
    (child.acquisition, child.parent_job_id) = (None, Some(job("other")));
    assert!(stage.register("a", child).await.expect("a child").created);
    assert!(stage.record("a").await.generation > Generation(1), "generations never restart");
}

#[tokio::test]
async fn a_replica_without_the_key_ends_nothing() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let key = ("k2".to_owned(), zeroize::Zeroizing::new(vec![8; 32]));
    let keyring = Arc::new(KeyringState::fixed(Keyring::new("k2", [key]).expect("a keyring")));
    let vault = stage.vault_with(|parts| parts.keyring = keyring);
    vault.register(&caller("mod-di"), job("a"), request(&ui, Acquisition::Exchange)).await.expect("a job");
    let key = stage.record("a").await.key;
    stage.pass(LIFE * 6 / 10);
    for fence in 1..=3 {
        let claimed = async || stage.store.load(&key).await.expect("the store").expect("a record").fence;
        while claimed().await < Fence(fence) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let record = stage.record("a").await;
        assert!(record.state == State::Active && record.pair.is_some(), "{:?}", record.state);
        stage.pass(Duration::from_secs(16));
    }
}

#[tokio::test]
async fn an_end_put_off_during_a_renewal_is_put_off() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let mut short = request(&ui, Acquisition::Exchange);
    short.expires_at = Some(stage.now() + LIFE * 7 / 10);
    stage.register("a", short.clone()).await.expect("a job");
    stage.keycloak.faults().next(Endpoint::Introspect, Fault::Delay(Duration::from_millis(500)));
    stage.pass(LIFE * 6 / 10);
    while stage.keycloak.faults().pending(Endpoint::Introspect) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    short.expires_at = Some(stage.now() + Duration::from_hours(1));
    stage.register("a", short).await.expect("amended while the probe is under way");
    stage.pass(LIFE * 2 / 10);
    let record = stage.until("a", |record| record.generation > Generation(1) || !record.state.is_live()).await;
    assert_eq!(record.state, State::Active);
}

#[tokio::test]
async fn a_jobs_longest_life_is_counted_from_its_beginning() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let created_at = stage.record("a").await.created_at;
    let mut again = request(&ui, Acquisition::Exchange);
    stage.pass(Duration::from_secs(40));
    again.expires_at = Some(created_at + Duration::from_hours(24));
    assert!(!stage.register("a", again.clone()).await.expect("within the longest life").created);
    again.expires_at = Some(created_at + Duration::from_hours(24) + Duration::from_secs(1));
    assert_eq!(stage.register("a", again).await.expect_err("beyond it").code, Code::ExpiresAtTooLate);
}

#[tokio::test]
async fn a_session_that_was_begun_for_a_job_released_meanwhile_is_revoked() {
    let short = |settings: &mut RealmSettings| settings.sso_session_max = LIFE.as_secs() * 3 / 2;
    let stage = Stage::with(|rules| rules, |realm| realm.with_settings(short)).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Impersonate)).await.expect("a job");
    stage.keycloak.faults().next(Endpoint::Impersonate, Fault::Delay(Duration::from_millis(300)));
    stage.pass(LIFE * 6 / 10);
    while stage.keycloak.faults().pending(Endpoint::Impersonate) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.vault.release(&caller("mod-di"), &job("a")).await.expect("released");
    stage.until("a", |record| record.state == State::Ended(EndReason::Released)).await;
    let sessions = || stage.keycloak.handle().with(|keycloak, _| keycloak.sessions(REALM, "alice")).expect("sessions");
    for _ in (0..400).take_while(|_| sessions().len() > 1) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(sessions().len(), 1, "only the user's own session is left");
}

#[tokio::test]
async fn a_tenant_rules_out_what_its_modules_were_granted() {
    let exchange_only = |rules| TenantRules { acquisitions: [Acquisition::Exchange].into(), ..rules };
    let stage = Stage::with(exchange_only, |realm| realm).await;
    let ui = stage.login().await;
    for acquisition in [Acquisition::Impersonate, Acquisition::Adopt] {
        let problem = stage.register("a", request(&ui, acquisition)).await.expect_err("ruled out");
        assert_eq!(problem.code, Code::Unsupported);
    }
    assert_eq!(stage.keycloak.journal().requests(Endpoint::Exchange), 0);
    assert!(stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job").created);
}
