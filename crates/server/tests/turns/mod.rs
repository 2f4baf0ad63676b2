//! What a registration leaves behind in its session, its user's list and its module's share, however it goes.

use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{Endpoint, Fault, Moment};
use tokenvault_core::ports::{JOINING, StoreError, TokenStore};
use tokenvault_core::record::{Acquisition, State};
use tokenvault_vault::jobs::Registration;
use tokenvault_vault::problem::Code;
use tokenvault_vault::tenants::TenantRules;

use super::stage::between::Between;
use super::stage::{Stage, caller, job, request};

const HOUR: Duration = Duration::from_hours(1);

fn one_record(mut rules: TenantRules) -> TenantRules {
    rules.max_records_per_module = 1;
    rules.renewal.tombstone_ttl = HOUR;
    rules
}

#[tokio::test]
async fn a_released_job_with_a_session_of_its_own_counts_no_longer_than_it_is_kept() {
    let stage = Stage::with(one_record, |realm| realm).await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Impersonate)).await.expect("a job");
    stage.vault.release(&caller("mod-di"), &job("a")).await.expect("released");
    stage.until("a", |record| matches!(record.state, State::Ended(_))).await;
    let full = stage.register("b", request(&ui, Acquisition::Exchange)).await.expect_err("what is left of it counts");
    assert_eq!(full.code, Code::TooManyRequests);
    stage.pass(HOUR * 3);
    let ui = stage.login().await;
    stage.register("b", request(&ui, Acquisition::Exchange)).await.expect("there is room");
}

#[tokio::test]
async fn a_job_whose_spare_was_not_answered_for_lives_in_its_session_and_is_still_joining_it() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.keycloak.faults().next(Endpoint::Exchange, Fault::Delay(Duration::ZERO));
    stage.keycloak.faults().next(Endpoint::Exchange, Fault::Drop(Moment::After));
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let record = stage.record("a").await;
    assert!(record.spare.is_none());
    let key = record.session_key().expect("a session");
    let entry = async || stage.store.session(&key).await.expect("the store").expect("an entry");
    assert!(entry().await.joining.contains_key(&job("a")), "the exchange may still be at work");
    stage.pass(JOINING);
    let later = entry().await;
    assert!(later.joining.is_empty() && later.jobs == [job("a")], "{later:?}");
}

#[tokio::test]
async fn a_registration_that_the_store_refuses_before_the_record_gives_everything_back() {
    let stage = Stage::with(one_record, |realm| realm).await;
    let ui = stage.login().await;
    let vault = |refused| {
        let full = Arc::clone(&stage.store);
        let store = Between::choosing(
            move |operation| {
                if operation == refused { Err(StoreError::FULL) } else { Ok(Arc::clone(&full)) }
            },
        );
        stage.vault_with(|parts| parts.store = store)
    };
    let problem =
        vault("join_session").register(&caller("mod-di"), job("a"), request(&ui, Acquisition::Exchange)).await;
    assert_eq!(problem.expect_err("the store is full").code, Code::StoreUnavailable);
    stage.register("b", request(&ui, Acquisition::Exchange)).await.expect("its place in the share is free");
    let user = stage.record("b").await.user;
    let listed = async || stage.store.jobs_of_user(&caller("mod-di").tenant, &user, None, 9).await.expect("the store");
    assert_eq!(listed().await, [job("b")]);

    let child =
        Registration { acquisition: None, parent_job_id: Some(job("b")), ..request(&ui, Acquisition::Exchange) };
    let parent =
        Registration { readers: Some([caller("mod-srm").module].into()), ..request(&ui, Acquisition::Exchange) };
    stage.register("b", parent).await.expect("the same job");
    let problem = vault("add_child").register(&caller("mod-srm"), job("part"), child.clone()).await;
    assert_eq!(problem.expect_err("the store is full").code, Code::StoreUnavailable);
    assert_eq!(listed().await, [job("b")]);
    stage.vault.register(&caller("mod-srm"), job("part-2"), child).await.expect("its place in the share is free");
}

#[tokio::test]
async fn a_job_that_came_to_live_in_a_session_meanwhile_is_not_taken_out_with_what_is_over() {
    let stage = Stage::set().await;
    let ui = stage.login().await;
    stage.register("a", request(&ui, Acquisition::Exchange)).await.expect("a job");
    let record = stage.record("a").await;
    let key = record.session_key().expect("a session");
    // Whoever tidies has seen an end, and the job was registered anew since.
    stage.services.remove_from_indexes(&record).await;
    stage.services.leave_session(&key, &record.key, record.keep_until).await.expect("the store");
    let jobs = async || stage.store.session(&key).await.expect("the store").map(|entry| entry.jobs).unwrap_or_default();
    assert_eq!(jobs().await, [job("a")]);
    stage.vault.release(&caller("mod-di"), &job("a")).await.expect("released");
    assert!(jobs().await.is_empty());
}
