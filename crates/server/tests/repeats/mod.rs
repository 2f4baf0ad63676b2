//! Registering again: what a registrar may have without showing a proof, and what is refused because it cannot be kept.

use std::collections::BTreeSet;
use std::time::Duration;

use tokenvault_core::ids::ModuleName;
use tokenvault_core::ports::{SessionStore, UserStore};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_vault::jobs::{Caller, ReadRequest, Registration};
use tokenvault_vault::problem::{Code, Problem};

use super::stage::{LIFE, Login, Stage, caller, job, request};

const HOUR: Duration = Duration::from_hours(1);

fn readers(names: &[&str]) -> BTreeSet<ModuleName> {
    names.iter().map(|name| ModuleName::parse(*name).expect("a module")).collect()
}

/// A live impersonated job that `mod-srm` reads and that ends in an hour, and the pair its user came with.
async fn with_job(acquisition: Acquisition) -> (Stage, Login) {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let end = Some(stage.now() + HOUR);
    let first = Registration { readers: Some(readers(&["mod-srm"])), expires_at: end, ..request(&ui, acquisition) };
    stage.register("a", first).await.expect("a job");
    (stage, ui)
}

/// A repetition by whoever has no proof: the user is named, the token is none.
async fn unproven(stage: &Stage) -> Registration {
    let user = stage.record("a").await.user;
    let nothing = Login { access: "x".to_owned(), refresh: String::new() };
    Registration { acquisition: None, user_id: Some(user), ..request(&nothing, Acquisition::Exchange) }
}

async fn refused(stage: &Stage, by: &Caller, request: Registration) -> (Code, Option<String>) {
    let problem: Problem = stage.vault.register(by, job("a"), request).await.expect_err("a refusal");
    let word = problem.members.get("check").or(problem.members.get("reason"));
    (problem.code, word.and_then(|word| word.as_str()).map(str::to_owned))
}

#[tokio::test]
async fn without_a_proof_a_job_is_shortened_and_readers_are_taken_out_and_nothing_more() {
    let (stage, ui) = with_job(Acquisition::Impersonate).await;
    stage.logout(&ui).await;
    let me = caller("mod-di");
    let before = stage.record("a").await;

    let later = Registration { expires_at: Some(stage.now() + HOUR * 20), ..unproven(&stage).await };
    assert_eq!(refused(&stage, &me, later).await, (Code::TokenRejected, Some("malformed".to_owned())));
    let more = Registration { readers: Some(readers(&["mod-srm", "mod-x"])), ..unproven(&stage).await };
    assert_eq!(refused(&stage, &me, more).await.0, Code::TokenRejected);
    let others = Registration { readers: Some(readers(&["mod-x"])), ..unproven(&stage).await };
    assert_eq!(refused(&stage, &me, others).await.0, Code::TokenRejected);
    // The token of a user who has logged out is a proof no more, however long it lives.
    let later = Registration { expires_at: Some(stage.now() + HOUR * 20), ..request(&ui, Acquisition::Impersonate) };
    assert_eq!(refused(&stage, &me, later).await, (Code::TokenRejected, Some("token_not_active".to_owned())));
    assert_eq!(stage.record("a").await.terms, before.terms, "nothing was changed");

    let same = stage.register("a", unproven(&stage).await).await.expect("the same again");
    assert!(!same.created && same.job.readers == [ModuleName::parse("mod-srm").expect("a module")]);
    let end = stage.now() + HOUR / 2;
    let less = Registration { readers: Some(readers(&[])), expires_at: Some(end), ..unproven(&stage).await };
    let less = stage.register("a", less).await.expect("less of it").job;
    assert_eq!((less.readers.len(), less.expires_at), (0, end));
    let read = ReadRequest { min_ttl: None, wait: Duration::ZERO, known: None };
    assert!(stage.vault.read(&caller("mod-srm"), &job("a"), read).await.is_err(), "it is no reader any more");
}

#[tokio::test]
async fn who_may_have_no_such_job_any_more_gets_no_more_of_the_one_there_is() {
    let (stage, ui) = with_job(Acquisition::Impersonate).await;
    let me = Caller { acquisitions: [Acquisition::Exchange].into(), ..caller("mod-di") };
    let again = || Registration { acquisition: None, ..request(&ui, Acquisition::Exchange) };
    let later = Registration { expires_at: Some(stage.now() + HOUR * 20), ..again() };
    assert_eq!(refused(&stage, &me, later).await.0, Code::ActionDenied);
    let more = Registration { readers: Some(readers(&["mod-srm", "mod-x"])), ..again() };
    assert_eq!(refused(&stage, &me, more).await.0, Code::ActionDenied);
    assert!(!stage.vault.register(&me, job("a"), again()).await.expect("the same again").created);
}

#[tokio::test]
async fn with_a_proof_a_job_is_prolonged_and_gets_readers_by_each_acquisition() {
    for acquisition in [Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt] {
        let (stage, ui) = with_job(acquisition).await;
        let end = stage.now() + HOUR * 20;
        let more = Registration {
            expires_at: Some(end),
            readers: Some(readers(&["mod-srm", "mod-x"])),
            ..request(&ui, acquisition)
        };
        let more = stage.register("a", more).await;
        let more = more.unwrap_or_else(|problem| panic!("{acquisition:?}: {problem:?}")).job;
        assert_eq!((more.readers.len(), more.expires_at), (2, end), "{acquisition:?}");
        stage.pass(LIFE * 2);
        let late = Registration { expires_at: Some(end + HOUR), ..request(&ui, acquisition) };
        assert_eq!(refused(&stage, &caller("mod-di"), late).await.1.as_deref(), Some("expired"));
    }
}

#[tokio::test]
async fn another_users_proof_prolongs_nothing() {
    let bob = keycloak_double::UserConfig::new("bob", "bob-password").user_id("9a5e3f0e-0c6a-4d0e-8f57-0b1a7c0f1b2c");
    let stage = Stage::with(|rules| rules, |realm| realm.user(bob)).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let theirs = stage.login_as("bob").await;
    let later = Registration { expires_at: Some(stage.now() + HOUR * 23), ..request(&theirs, Acquisition::Exchange) };
    assert_eq!(refused(&stage, &caller("mod-di"), later).await.0, Code::JobConflict);
}

#[tokio::test]
async fn what_a_repetition_asks_for_and_does_not_get_is_refused() {
    let (stage, ui) = with_job(Acquisition::Exchange).await;
    let me = caller("mod-di");
    let other = Registration { acquisition: Some(Acquisition::Impersonate), ..request(&ui, Acquisition::Exchange) };
    let differs = (Code::Unsupported, Some("acquisition_differs".to_owned()));
    assert_eq!(refused(&stage, &me, other).await, differs);
    let refresh_token = Some(RefreshToken::new(ui.refresh.clone()));
    let deposit = Registration { refresh_token, acquisition: None, ..request(&ui, Acquisition::Exchange) };
    assert_eq!(refused(&stage, &me, deposit).await.0, Code::Unsupported);
    let parent =
        Registration { parent_job_id: Some(job("b")), acquisition: None, ..request(&ui, Acquisition::Exchange) };
    assert_eq!(refused(&stage, &me, parent).await.0, Code::JobConflict);
    let longer = Registration { on_logout: Some(OnLogout::Continue), ..request(&ui, Acquisition::Exchange) };
    assert_eq!(refused(&stage, &me, longer).await.0, Code::Unsupported);
}

/// A child of `a`.
fn child(ui: &Login) -> Registration {
    Registration { acquisition: None, parent_job_id: Some(job("a")), ..request(ui, Acquisition::Exchange) }
}

#[tokio::test]
async fn a_child_is_not_promised_another_end_at_logout_than_its_parents() {
    let (stage, ui) = with_job(Acquisition::Impersonate).await;
    let asked = |on_logout| Registration { on_logout: Some(on_logout), ..child(&ui) };
    let problem = stage.register("part", asked(OnLogout::Revoke)).await.expect_err("its pair goes on");
    assert_eq!((problem.code, problem.members["reason"].as_str()), (Code::Unsupported, Some("child_on_logout")));
    assert!(stage.read("part", Duration::ZERO).await.is_err(), "nothing was registered");
    let part = stage.register("part", asked(OnLogout::Continue)).await.expect("a child");
    assert_eq!(part.job.on_logout, OnLogout::Continue);
    let again = stage.register("part", asked(OnLogout::Revoke)).await.expect_err("nor is it tightened");
    assert_eq!(again.members["reason"].as_str(), Some("child_on_logout"));

    // Its parent can be, and then it is told so.
    let tight = Registration { on_logout: Some(OnLogout::Revoke), ..request(&ui, Acquisition::Impersonate) };
    stage.register("a", tight).await.expect("the same job");
    let part = stage.register("part", child(&ui)).await.expect("the same child");
    assert_eq!(part.job.on_logout, OnLogout::Revoke);
    let loose = stage.register("part", asked(OnLogout::Continue)).await.expect_err("it ends with its parent");
    assert_eq!(loose.code, Code::Unsupported);
}

#[tokio::test]
async fn a_child_gets_no_more_once_its_registrar_may_not_read_the_parent_or_that_is_over() {
    let (stage, ui) = with_job(Acquisition::Exchange).await;
    let srm = caller("mod-srm");
    let tokenless =
        |end: Duration| Registration { access_token: None, expires_at: Some(stage.now() + end), ..child(&ui) };
    stage.vault.register(&srm, job("part"), tokenless(HOUR / 4)).await.expect("a child");
    let narrow = Registration { readers: Some(readers(&[])), ..request(&ui, Acquisition::Exchange) };
    stage.register("a", narrow).await.expect("the same job");
    let later = stage.vault.register(&srm, job("part"), tokenless(HOUR / 2)).await.expect_err("it reads no more");
    assert_eq!(later.code, Code::ActionDenied);

    stage.register("own", child(&ui)).await.expect("a child");
    stage.vault.release(&caller("mod-di"), &job("a")).await.expect("released");
    let later = Registration { access_token: Some(AccessToken::new(ui.access.clone())), ..tokenless(HOUR / 2) };
    let later = Registration { readers: Some(readers(&["mod-di"])), ..later };
    assert!(stage.register("own", later).await.is_ok(), "its registrar is no new reader");
    let more = Registration { readers: Some(readers(&["mod-srm"])), ..child(&ui) };
    assert_eq!(stage.register("own", more).await.expect_err("its parent is over").code, Code::JobEnded);
}

#[tokio::test]
async fn which_ids_there_are_is_not_told_to_who_proves_nothing() {
    let (stage, ui) = with_job(Acquisition::Exchange).await;
    let stranger = caller("mod-stranger");
    let tell = async |name: &str, request: Registration| {
        stage.vault.register(&stranger, job(name), request).await.expect_err("a refusal").code
    };
    for request in [
        unproven(&stage).await,
        Registration { access_token: None, ..child(&ui) },
        Registration { on_logout: Some(OnLogout::Continue), ..request(&ui, Acquisition::Exchange) },
    ] {
        assert_eq!(tell("a", request.clone()).await, tell("absent", request).await);
    }
    assert_eq!(
        tell("a", request(&ui, Acquisition::Exchange)).await,
        Code::JobConflict,
        "who could have made one is told"
    );
    stage.vault.release(&caller("mod-di"), &job("a")).await.expect("released");
    assert_eq!(tell("a", unproven(&stage).await).await, Code::TokenRejected, "nor which ids there were");
}

#[tokio::test]
async fn a_refused_registration_leaves_no_trace_in_its_session() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let key = stage.record("a").await.session_key().expect("a session");
    let before = stage.store.session(&key).await.expect("the store").expect("an entry");
    stage.logout(&ui).await;
    for n in 0..20 {
        for acquisition in [Acquisition::Exchange, Acquisition::Impersonate, Acquisition::Adopt] {
            let name = format!("refused-{n}");
            stage.register(&name, request(&ui, acquisition)).await.expect_err("the session is over");
        }
    }
    let after = stage.store.session(&key).await.expect("the store").expect("an entry");
    assert_eq!(after, before);
    let user = stage.record("a").await.user;
    let listed = stage.store.jobs_of_user(&key.tenant, &user, None, 100).await.expect("the store");
    assert_eq!(listed, [job("a")]);
}

#[tokio::test]
async fn what_a_module_registered_and_released_counts_towards_its_share_and_nobody_elses() {
    let few = |mut rules: tokenvault_vault::tenants::TenantRules| {
        rules.max_records_per_module = 4;
        rules
    };
    let stage = Stage::with(few, |realm| realm).await;
    let ui = stage.login().await;
    let parent = Registration { readers: Some(readers(&["mod-srm"])), ..request(&ui, Acquisition::Exchange) };
    stage.register("a", parent).await.expect("a job");
    let full = |problem: &Problem| {
        (problem.code, problem.members["reason"].as_str()) == (Code::TooManyRequests, Some("module_share"))
    };
    for n in 0..3 {
        let name = format!("part-{n}");
        stage.register(&name, child(&ui)).await.expect("a child");
        stage.vault.release(&caller("mod-di"), &job(&name)).await.expect("released");
    }
    for n in 0..5 {
        let problem = stage.register(&format!("more-{n}"), child(&ui)).await.expect_err("its share is used up");
        assert!(full(&problem), "{problem:?}");
    }
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("the one that is there");
    let srm = stage.vault.register(&caller("mod-srm"), job("theirs"), child(&ui)).await;
    srm.expect("another module has a share of its own");
    // A refused one takes nothing of it.
    for n in 0..5 {
        let refused = Registration { acquisition: Some(Acquisition::Adopt), ..request(&ui, Acquisition::Exchange) };
        stage
            .vault
            .register(&caller("mod-srm"), job(&format!("bad-{n}")), refused)
            .await
            .expect_err("no refresh token");
        let late = Registration { expires_at: Some(stage.now() + HOUR * 23), ..child(&ui) };
        stage.vault.register(&caller("mod-srm"), job(&format!("late-{n}")), late).await.expect_err("after its parent");
    }
    let own = stage.vault.register(&caller("mod-srm"), job("own"), request(&ui, Acquisition::Exchange)).await;
    assert!(own.expect("there is room").created);
}
