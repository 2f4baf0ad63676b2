//! Children that are registered without the user's token: their parts begin hours after the parent, from a queue.

use std::collections::BTreeSet;
use std::time::Duration;

use keycloak_double::UserConfig;
use tokenvault_core::ids::{ModuleName, UserId};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::AccessToken;
use tokenvault_vault::jobs::{Caller, ProvenBy, Registered, Registration};
use tokenvault_vault::problem::Code;

use super::stage::{self, LIFE, Stage, caller, job, request};

const WAIT: Duration = Duration::from_secs(5);

/// A child of a parent, and no token.
fn tokenless(parent: &str) -> Registration {
    Registration {
        access_token: None,
        user_id: None,
        refresh_token: None,
        acquisition: None,
        parent_job_id: Some(job(parent)),
        readers: None,
        on_logout: None,
        expires_at: None,
    }
}

fn reader(name: &str) -> BTreeSet<ModuleName> {
    [ModuleName::parse(name).expect("a module")].into()
}

async fn with_parent() -> Stage {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let mut parent = request(&ui, Acquisition::Exchange);
    parent.readers = Some(reader("mod-srm"));
    stage.register("parent", parent).await.expect("a job");
    stage
}

async fn refused(stage: &Stage, module: &str, name: &str, request: Registration) -> Code {
    stage.vault.register(&caller(module), job(name), request).await.expect_err("a refusal").code
}

#[tokio::test]
async fn a_child_is_registered_hours_later_without_a_token() {
    let stage = with_parent().await;
    stage.pass(LIFE / 2);
    stage.until("parent", |record| record.generation.0 > 1).await;
    let by_a_reader = stage.vault.register(&caller("mod-srm"), job("part"), tokenless("parent")).await;
    let Registered { created, job: part, proven_by } = by_a_reader.expect("a child");
    assert!(created && proven_by == ProvenBy::Parent);
    let parent = stage.record("parent").await;
    assert_eq!((part.user_id, part.expires_at), (parent.user.clone(), parent.expires_at));
    let token = stage.read("parent", WAIT).await.expect("a token");
    let request = tokenvault_vault::jobs::ReadRequest { min_ttl: None, wait: WAIT, known: None };
    let read = stage.vault.read(&caller("mod-srm"), &job("part"), request).await.expect("a token");
    let tokenvault_vault::jobs::ReadAnswer::Token(read) = read else { unreachable!("nothing was said to be known") };
    assert_eq!(read.access_token.expose(), token.access_token.expose());
}

#[tokio::test]
async fn without_a_token_a_child_is_for_those_who_may_read_its_parent() {
    let stage = with_parent().await;
    assert_eq!(refused(&stage, "mod-stranger", "part", tokenless("parent")).await, Code::JobNotFound);
    assert_eq!(refused(&stage, "mod-di", "part", tokenless("no-such-job")).await, Code::JobNotFound);
    let mut blind = caller("mod-di");
    blind.reads = false;
    let answer = stage.vault.register(&blind, job("part"), tokenless("parent")).await;
    assert_eq!(answer.expect_err("no right to read").code, Code::ActionDenied);
    let outsider = Registration { readers: Some(reader("mod-stranger")), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "part", outsider).await, Code::ActionDenied);
    let late = stage.record("parent").await.expires_at + Duration::from_secs(1);
    let late = Registration { expires_at: Some(late), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "part", late).await, Code::ExpiresAtTooLate);
    let surviving = Registration { on_logout: Some(OnLogout::Continue), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "part", surviving).await, Code::Unsupported);
    let of_bob = Registration { user_id: UserId::parse("bob").ok(), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "part", of_bob).await, Code::JobConflict);
    stage.vault.release(&caller("mod-di"), &job("parent")).await.expect("released");
    assert_eq!(refused(&stage, "mod-di", "part", tokenless("parent")).await, Code::JobEnded);
}

#[tokio::test]
async fn without_a_token_only_this_registrars_child_of_the_same_parent_is_touched() {
    let stage = with_parent().await;
    let ui = stage.login().await;
    stage.register("lonely", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.register("part", tokenless("parent")).await.expect("a child");

    assert_eq!(refused(&stage, "mod-di", "lonely", tokenless("parent")).await, Code::JobConflict);
    assert_eq!(refused(&stage, "mod-di", "part", tokenless("lonely")).await, Code::JobConflict);
    assert_eq!(refused(&stage, "mod-srm", "part", tokenless("parent")).await, Code::JobConflict);
    assert_eq!(refused(&stage, "mod-di", "parent", tokenless("parent")).await, Code::JobConflict);

    let again = stage.register("part", Registration { readers: Some(reader("mod-srm")), ..tokenless("parent") }).await;
    let again = again.expect("the same child");
    assert!(!again.created && again.proven_by == ProvenBy::Parent);
    assert_eq!(again.job.readers, [ModuleName::parse("mod-srm").expect("a module")]);
    let outsider = Registration { readers: Some(reader("mod-stranger")), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "part", outsider).await, Code::ActionDenied);

    stage.vault.release(&caller("mod-di"), &job("part")).await.expect("released");
    assert_eq!(refused(&stage, "mod-di", "part", tokenless("parent")).await, Code::JobIdEnded);
}

#[tokio::test]
async fn a_repetition_is_answered_though_the_parent_has_been_narrowed_since() {
    let stage = with_parent().await;
    let end = stage.record("parent").await.expires_at;
    let part = || Registration { readers: Some(reader("mod-srm")), ..tokenless("parent") };
    stage.register("part", part()).await.expect("a child");
    stage.register("plain", tokenless("parent")).await.expect("a child");
    let ui = stage.login().await;
    let mut narrow = request(&ui, Acquisition::Exchange);
    (narrow.readers, narrow.expires_at) = (Some(reader("mod-other")), Some(end - Duration::from_mins(10)));
    stage.register("parent", narrow).await.expect("the same job");

    for (name, again) in [("plain", tokenless("parent")), ("part", part())] {
        assert!(!stage.register(name, again).await.expect("the same child").created, "{name}");
    }
    let outsider = Registration { readers: Some(reader("mod-stranger")), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "part", outsider).await, Code::ActionDenied, "another reader");
    let late = Registration { expires_at: Some(end + Duration::from_secs(1)), ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "plain", late).await, Code::ExpiresAtTooLate, "a later end");
    let request = tokenvault_vault::jobs::ReadRequest { min_ttl: None, wait: Duration::ZERO, known: None };
    let read = stage.vault.read(&caller("mod-srm"), &job("part"), request).await;
    assert_eq!(read.expect_err("the parent is not for that reader any more").code, Code::JobNotFound);
}

#[tokio::test]
async fn who_may_not_read_any_more_amends_nothing_without_a_proof() {
    let stage = with_parent().await;
    stage.register("part", tokenless("parent")).await.expect("a child");
    let user = stage.record("part").await.user;
    let blind = Caller { reads: false, ..caller("mod-di") };
    let amended = Registration { readers: Some(reader("mod-srm")), ..tokenless("parent") };
    let answer = stage.vault.register(&blind, job("part"), amended).await;
    assert_eq!(answer.expect_err("no right to read").code, Code::ActionDenied);
    let with = |token: &str| Registration {
        access_token: Some(AccessToken::new(token)),
        user_id: Some(user.clone()),
        readers: Some(reader("mod-srm")),
        ..tokenless("parent")
    };
    let answer = stage.vault.register(&blind, job("part"), with("x")).await;
    assert_eq!(answer.expect_err("no proof").code, Code::TokenRejected);
    assert!(stage.record("part").await.readers.is_empty());
    let ui = stage.login().await;
    let amended = stage.vault.register(&blind, job("part"), with(&ui.access)).await.expect("the same child");
    assert_eq!(amended.job.readers, [ModuleName::parse("mod-srm").expect("a module")]);
}

#[tokio::test]
async fn a_token_that_is_given_is_still_checked() {
    let bob = UserConfig::new("bob", "bob-password").user_id("9a5e3f0e-0c6a-4d0e-8f57-0b1a7c0f1b2c");
    let stage = Stage::with(|rules| rules, |realm| realm.user(bob)).await;
    let ui = stage.login().await;
    stage.register("parent", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let with = |token: &stage::Login| Registration {
        access_token: request(token, Acquisition::Exchange).access_token,
        ..tokenless("parent")
    };
    let foreign = with(&stage.login_as("bob").await);
    assert_eq!(refused(&stage, "mod-di", "part", foreign).await, Code::TokenRejected);
    let mut narrow = caller("mod-di");
    narrow.acquisitions = [Acquisition::Impersonate].into();
    let own = stage.vault.register(&narrow, job("part"), with(&ui)).await.expect("a child, which acquires nothing");
    assert_eq!(own.proven_by, ProvenBy::AccessToken);
    stage.pass(LIFE * 2);
    let expired = stage.register("late", with(&ui)).await.expect_err("an expired token");
    assert_eq!((expired.code, expired.members["check"].as_str()), (Code::TokenRejected, Some("expired")));
}

#[tokio::test]
async fn a_job_of_its_own_needs_a_token() {
    let stage = Stage::set().await;
    let none = Registration { parent_job_id: None, ..tokenless("parent") };
    assert_eq!(refused(&stage, "mod-di", "a", none).await, Code::InvalidRequest);
}

#[tokio::test]
async fn the_end_of_a_child_is_told_to_its_readers_though_its_tombstone_names_none() {
    let stage = with_parent().await;
    let mut part = tokenless("parent");
    part.readers = Some(reader("mod-srm"));
    stage.register("part", part).await.expect("a child");
    stage.vault.release(&caller("mod-di"), &job("part")).await.expect("released");
    assert!(stage.record("part").await.readers.is_empty());
    let read = async |module: &str| {
        let request = tokenvault_vault::jobs::ReadRequest { min_ttl: None, wait: Duration::ZERO, known: None };
        stage.vault.read(&caller(module), &job("part"), request).await.expect_err("no token").code
    };
    assert_eq!(read("mod-srm").await, Code::JobEnded);
    assert_eq!(read("mod-stranger").await, Code::JobNotFound);
}
