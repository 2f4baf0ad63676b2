//! The jobs of a tenant that is taken out while the vault runs, and comes back or does not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{Endpoint, Fault, Moment};
use tokenvault_core::ids::{Fence, Generation, JobKey, TenantId, UserId};
use tokenvault_core::ports::{JobStore, UserStore};
use tokenvault_core::record::{Acquisition, EndReason, State};
use tokenvault_vault::jobs::{ReadAnswer, ReadRequest, Registration};
use tokenvault_vault::problem::Code;
use tokenvault_vault::tenants::{Served, TenantRules};

use crate::stage::{LIFE, REALM, Stage, caller, job, request};

const WAIT: Duration = Duration::from_secs(4);

fn tenant() -> TenantId {
    TenantId::parse(REALM).expect("a tenant")
}

/// Takes the tenant out; what puts it back is answered.
fn take_out(stage: &Stage) -> Arc<TenantRules> {
    let rules = stage.services.tenants.get(&tenant()).expect("it is there");
    stage.tenants.replace(BTreeMap::new());
    rules
}

fn put_back(stage: &Stage, rules: Arc<TenantRules>) {
    stage.tenants.replace(BTreeMap::from([(tenant(), Served { rules, realm: None })]));
}

async fn fence(stage: &Stage, name: &str) -> Fence {
    stage.store.load(&JobKey::new(tenant(), job(name))).await.expect("the store").expect("a record").fence
}

fn code<T>(answer: Result<T, tokenvault_vault::problem::Problem>) -> Option<Code> {
    answer.err().map(|problem| problem.code)
}

#[tokio::test]
async fn a_job_is_neither_served_nor_renewed_and_goes_on_when_its_tenant_is_back() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let child =
        Registration { parent_job_id: Some(job("a")), acquisition: None, ..request(&ui, Acquisition::Exchange) };
    stage.register("child", child).await.expect("a child");
    let user = stage.record("a").await.user;
    let rules = take_out(&stage);

    for name in ["a", "child", "none"] {
        assert_eq!(code(stage.read(name, Duration::ZERO).await), Some(Code::Unsupported), "{name}");
    }
    let known = ReadRequest { min_ttl: None, wait: Duration::ZERO, known: Some(Generation(1)) };
    assert_eq!(code(stage.vault.read(&caller("mod-di"), &job("a"), known).await), Some(Code::Unsupported));
    for name in ["a", "other"] {
        let answer = stage.register(name, request(&ui, Acquisition::Exchange)).await;
        assert_eq!(code(answer), Some(Code::Unsupported), "{name}");
    }
    assert_eq!(code(stage.vault.release(&caller("mod-di"), &job("a")).await), Some(Code::Unsupported));
    assert_eq!(code(stage.vault.list(&caller("mod-di"), &user, None, 10).await), Some(Code::Unsupported));

    // While its token lives it is looked at now and then: another replica may know the tenant.
    stage.pass(LIFE * 6 / 10);
    let now = stage.now();
    let briefly = |due| due > now && due < now + Duration::from_secs(8);
    stage.until("a", |record| record.due_at.is_some_and(briefly)).await;
    // Afterwards it is left alone for a while.
    stage.pass(LIFE);
    let now = stage.now();
    let put_off = |due| due > now + Duration::from_secs(50) && due < now + Duration::from_mins(4);
    let waiting = stage.until("a", |record| record.due_at.is_some_and(put_off)).await;
    assert_eq!((waiting.generation, waiting.state, waiting.failures), (Generation(1), State::Active, 0));
    let seen = fence(&stage, "a").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fence(&stage, "a").await, seen, "nobody claims it again and again");

    put_back(&stage, rules);
    stage.until("a", |record| record.generation == Generation(2)).await;
    assert!(stage.read("child", WAIT).await.is_ok());
    let answer =
        stage.vault.read(&caller("mod-di"), &job("a"), ReadRequest { known: Some(Generation(2)), ..known }).await;
    assert!(matches!(answer, Ok(ReadAnswer::NotModified(Generation(2)))), "{answer:?}");
}

#[tokio::test]
async fn whoever_waits_for_a_token_is_told_when_the_tenant_is_taken_out() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    stage.keycloak.faults().every(Endpoint::Introspect, Fault::Status(Moment::Before, 503));
    stage.pass(LIFE * 2);
    let waits = stage.read("a", Duration::from_mins(1));
    let taken_out = async {
        stage.until("a", |record| record.failures > 0).await;
        take_out(&stage)
    };
    let (answer, _rules) = tokio::join!(waits, taken_out);
    assert_eq!(code(answer), Some(Code::Unsupported));
}

#[tokio::test]
async fn a_job_ends_at_its_end_though_its_tenant_is_gone() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    let until = Some(stage.now() + LIFE * 2);
    for (name, acquisition) in [("exchanged", Acquisition::Exchange), ("impersonated", Acquisition::Impersonate)] {
        let asked = Registration { expires_at: until, ..request(&ui, acquisition) };
        stage.register(name, asked).await.expect("a job");
    }
    let rules = take_out(&stage);
    stage.pass(LIFE);
    stage.until("exchanged", |record| record.due_at == until).await;

    stage.pass(LIFE);

    let ended = stage.until("exchanged", |record| !record.state.is_live()).await;
    assert_eq!((ended.state, ended.pair), (State::Ended(EndReason::Expired), None), "its tokens are erased");
    // The session of the vault's own can only be given up at the realm.
    stage.until("impersonated", |record| record.state == State::Releasing(EndReason::Expired)).await;
    put_back(&stage, rules);
    stage.until("impersonated", |record| record.state == State::Ended(EndReason::Expired)).await;
    let user = UserId::parse(ended.user.as_str()).expect("a user");
    assert_eq!(stage.store.jobs_of_user(&tenant(), &user, None, 10).await.expect("the store"), []);
}
