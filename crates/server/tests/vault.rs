//! The use cases and the reconciler on the stand-in for Keycloak, in moments instead of hours.

mod stage;

use std::time::Duration;

use keycloak_double::{Endpoint, Fault, Moment};
use stage::{LIFE, REALM, Stage, caller, job, request};
use tokenvault::problem::Code;
use tokenvault::tenants::TenantRules;
use tokenvault::vault::{ReadAnswer, ReadRequest};
use tokenvault_core::ids::{Generation, ModuleName};
use tokenvault_core::record::{Acquisition, EndReason, OnLogout, State, Suspension};

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
    stage.until("a", |record| record.spare.is_some()).await;
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

#[tokio::test]
async fn a_disabled_user_suspends_the_job_and_enabling_brings_it_back() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let enable = |yes| {
        stage.keycloak.handle().with(|keycloak, _| keycloak.set_user_enabled(REALM, "alice", yes)).expect("alice")
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
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.pass(LIFE * 3);
    let mut again = request(&ui, Acquisition::Exchange);
    again.readers = Some([ModuleName::parse("mod-srm").expect("a module")].into());
    let answer = stage.register("a", again).await.expect("the job, though the proof has expired");
    assert!(!answer.created && answer.job.readers.len() == 1);
    let read = ReadRequest { min_ttl: None, wait: WAIT, known: None };
    assert!(stage.vault.read(&caller("mod-srm"), &job("a"), read).await.is_ok(), "the new reader reads");
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
    let more = ReadRequest { min_ttl: Some(LIFE - Duration::from_secs(2)), ..read };
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
