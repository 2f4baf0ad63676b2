//! The lists of users' jobs: what they show to whom, how long they get, and that nothing live falls out of them.

use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{Endpoint, Fault, Moment};
use tokenvault_core::ids::{JobId, JobKey, ReplicaId, TenantId, UserId};
use tokenvault_core::ports::testing::ManualClock;
use tokenvault_core::ports::{Clock, UserStore};
use tokenvault_core::record::Acquisition;
use tokenvault_core::time::Timestamp;
use tokenvault_server::admin::{AdminCommands, AdminService, OperatorCall};
use tokenvault_vault::jobs::JobPage;
use tokenvault_vault::problem::Code;
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::TenantRules;

use crate::stage::{REALM, Stage, caller, job, request};

const PAGES: usize = 10;

fn tenant() -> TenantId {
    TenantId::parse(REALM).expect("a tenant")
}

async fn page(stage: &Stage, module: &str, user: &UserId, after: Option<&JobId>, limit: usize) -> JobPage {
    stage.vault.list(&caller(module), user, after, limit).await.expect("a page")
}

/// All pages of a caller's, one job each: what they show, and every place they name.
async fn walked(stage: &Stage, module: &str, user: &UserId) -> (Vec<String>, Vec<String>) {
    let (mut shown, mut places, mut after) = (Vec::new(), Vec::new(), None);
    for _ in 0..PAGES {
        let page = page(stage, module, user, after.as_ref(), 1).await;
        shown.extend(page.jobs.iter().map(|job| job.job_id.to_string()));
        places.extend(page.next.iter().map(ToString::to_string));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    (shown, places)
}

async fn entered(stage: &Stage, user: &UserId) -> Vec<JobId> {
    stage.store.jobs_of_user(&tenant(), user, None, usize::MAX).await.expect("the store")
}

/// A clock that goes on by half a minute whenever it is looked at.
struct Hasty(ManualClock);

impl Clock for Hasty {
    fn now(&self) -> Timestamp {
        self.0.advance(Duration::from_secs(30));
        self.0.now()
    }
}

#[tokio::test]
async fn jobs_that_an_operators_act_did_not_come_to_are_told_of_as_not_ended() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        stage.register(name, request(&ui, Acquisition::Exchange)).await.expect("a job");
    }
    let user = stage.record("a").await.user;
    let clock = Arc::new(Hasty(ManualClock::at(stage.services.clock.now())));
    let services = Services { clock, ..stage.services.clone() };
    let office = AdminService::new(services, ReplicaId::parse("r-1").expect("a replica"));

    let told = office.revoke_user(&OperatorCall::new("bob", "1"), &tenant(), &user).await.expect("an answer");

    let failed: Vec<JobId> = told.failed.into_iter().map(|(job, _)| job).collect();
    assert!(!failed.is_empty() && failed.len() < names.len(), "{failed:?}");
    for name in names {
        let live = stage.record(name).await.state.is_live();
        assert_eq!((failed.contains(&job(name)), told.revoked.contains(&job(name))), (live, !live), "{name}");
    }
}

fn at_most_two(rules: TenantRules) -> TenantRules {
    TenantRules { max_jobs_per_user: 2, ..rules }
}

#[tokio::test]
async fn no_page_names_a_job_its_reader_may_not_see() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    for (name, module) in
        [("a", "mod-di"), ("b", "mod-di"), ("c", "mod-other"), ("d", "mod-di"), ("e", "mod-other"), ("f", "mod-di")]
    {
        let registered = stage.vault.register(&caller(module), job(name), request(&ui, Acquisition::Exchange)).await;
        assert!(registered.expect("a job").created);
    }
    let user = stage.record("a").await.user;
    let named = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(walked(&stage, "mod-stranger", &user).await, (named(&[]), named(&[])));
    assert_eq!(walked(&stage, "mod-other", &user).await, (named(&["c", "e"]), named(&["c"])));
    assert_eq!(walked(&stage, "mod-di", &user).await, (named(&["a", "b", "d", "f"]), named(&["a", "b", "d"])));
}

#[tokio::test]
async fn a_user_has_so_many_jobs_and_one_more_costs_keycloak_nothing() {
    let stage = Stage::with(at_most_two, |realm| realm).await;
    let ui = stage.login().await;
    for name in ["a", "b"] {
        stage.register(name, request(&ui, Acquisition::Exchange)).await.expect("a job");
    }
    let (user, asked) = (stage.record("a").await.user, stage.keycloak.journal().requests(Endpoint::Exchange));
    let problem = stage.register("c", request(&ui, Acquisition::Exchange)).await.expect_err("one too many");
    assert_eq!((problem.code, problem.members["max_jobs_per_user"].as_u64()), (Code::Unsupported, Some(2)));
    assert_eq!(stage.keycloak.journal().requests(Endpoint::Exchange), asked);
    assert_eq!(entered(&stage, &user).await, ["a", "b"].map(job));
    assert!(!stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("the same job").created);
    stage.vault.release(&caller("mod-di"), &job("a")).await.expect("released");
    assert!(stage.register("c", request(&ui, Acquisition::Exchange)).await.expect("a job").created);
}

#[tokio::test]
async fn what_was_left_behind_in_a_list_keeps_no_job_out() {
    let stage = Stage::with(at_most_two, |realm| realm).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let user = stage.record("a").await.user;
    let ghost = JobKey::new(tenant(), job("ghost"));
    stage.store.add_to_user(&user, &ghost, stage.now() + Duration::from_hours(1)).await.expect("an entry");
    assert!(stage.register("b", request(&ui, Acquisition::Exchange)).await.expect("a job").created);
    assert_eq!(entered(&stage, &user).await, ["a", "b"].map(job));
}

#[tokio::test]
async fn a_registration_that_fails_leaves_no_entry() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let user = stage.record("a").await.user;
    stage.keycloak.faults().next(Endpoint::Exchange, Fault::Status(Moment::Before, 400));
    stage.register("b", request(&ui, Acquisition::Exchange)).await.expect_err("refused");
    assert_eq!(entered(&stage, &user).await, [job("a")]);
}

#[tokio::test]
async fn tidying_takes_no_job_away_that_is_registered_at_the_same_moment() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("first", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let user = stage.record("first").await.user;
    let key = |name: &str| JobKey::new(tenant(), job(name));

    // Before the record is there: while Keycloak is asked.
    stage.keycloak.faults().next(Endpoint::Exchange, Fault::Stall(Duration::from_millis(300)));
    let registering = stage.register("a", request(&ui, Acquisition::Exchange));
    let tidying = async {
        while !entered(&stage, &user).await.contains(&job("a")) {
            tokio::task::yield_now().await;
        }
        stage.services.leave_user(&user, &key("a"), stage.now() + Duration::from_hours(1)).await;
        assert!(!entered(&stage, &user).await.contains(&job("a")));
    };
    let (registered, ()) = tokio::join!(registering, tidying);
    assert!(registered.expect("a job").created);
    assert!(entered(&stage, &user).await.contains(&job("a")));

    // After it.
    stage.services.leave_user(&user, &key("a"), stage.now() + Duration::from_hours(1)).await;
    let listed = page(&stage, "mod-di", &user, None, PAGES).await.jobs;
    assert_eq!(listed.iter().map(|job| job.job_id.as_str()).collect::<Vec<_>>(), ["a", "first"]);
}
