//! Storms on real processes, short enough to be run with everything else. The long ones: `--bin chaos`.
//!
//! Jobs by exchange and by adoption stand on a Keycloak of these tests' own, on PostgreSQL and without preview features.
//! Impersonation needs one of them, so its storm, which kills no Keycloak, stands on the one that all tests share.
#![allow(clippy::print_stdout, reason = "a storm that fails shows its account")]

use std::time::Duration;

use tokenvault_tests::chaos::ground::Ground;
use tokenvault_tests::chaos::{self, Acquisition, Fault, LEASE, Options, Report};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::{Failure, Result};
use tokio::sync::OnceCell;

async fn ground() -> Result<&'static Ground> {
    static GROUND: OnceCell<Ground> = OnceCell::const_new();
    GROUND.get_or_try_init(|| Ground::prepare(Acquisition::Exchange)).await
}

async fn storm(options: &Options) -> Result<Report> {
    let report = chaos::run_on(options, &ground().await?.keycloak).await?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(report)
}

/// What holds for every storm that the product is put through.
fn assert_kept(report: &Report) {
    assert_eq!(report.excess_loss, 0, "{report:?}");
    assert_eq!(report.double_spends, 0, "{report:?}");
    assert_eq!((report.expired_served, report.foreign_served, report.inactive_served), (0, 0, 0), "{report:?}");
    assert_eq!(report.ui_sessions_killed, 0, "{report:?}");
    assert!(report.reads > 0 && report.renewals > 0 && report.sampled > 0, "nothing was under way: {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_minutes_of_a_kill_each_second_cost_exchanged_jobs_nothing() -> Result<()> {
    let report = storm(&Options::new(Acquisition::Exchange, Fault::Kill, 120, 40)).await?;

    assert_kept(&report);
    assert_eq!(report.lost, 0, "{report:?}");
    assert!(report.kills >= 100 && report.orphans > 0, "{report:?}");
    // On a machine at rest it is the lease and a second; a busy one is no reason to fail.
    assert!(report.orphan_pickup_seconds_max <= Duration::from_secs(LEASE + 10).as_secs_f64(), "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_cost_impersonated_jobs_nothing() -> Result<()> {
    let options = Options::new(Acquisition::Impersonate, Fault::Kill, 15, 12);

    let report = chaos::run_on(&options, keycloak().await?).await?;

    assert_kept(&report);
    assert_eq!(report.lost, 0, "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_cost_adopted_jobs_only_what_nothing_could_have_saved() -> Result<()> {
    let mut options = Options::new(Acquisition::Adopt, Fault::Kill, 20, 20);
    options.quarantine = 5;

    assert_kept(&storm(&options).await?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_cost_a_naive_renewer_its_jobs() -> Result<()> {
    let mut options = Options::new(Acquisition::Adopt, Fault::Proxy, 20, 20);
    options.quarantine = 5;
    options.naive = true;

    let report = storm(&options).await?;

    assert!(report.excess_loss > 0, "the storm does not tell a naive renewer from the real one: {report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_stop_for_longer_than_their_lease_harm_nothing() -> Result<()> {
    let report = storm(&Options::new(Acquisition::Exchange, Fault::Stop, 20, 12)).await?;

    assert_kept(&report);
    assert_eq!(report.lost, 0, "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_ways_to_keycloak_and_redis_cost_exchanged_jobs_nothing() -> Result<()> {
    let report = storm(&Options::new(Acquisition::Exchange, Fault::Proxy, 20, 12)).await?;

    assert_kept(&report);
    assert_eq!(report.lost, 0, "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_costs_nothing() -> Result<()> {
    let report = storm(&Options::new(Acquisition::Exchange, Fault::Redis, 20, 12)).await?;

    assert_kept(&report);
    assert_eq!(report.lost, 0, "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_keycloak_is_not_for_killing() -> Result<()> {
    let options = Options::new(Acquisition::Exchange, Fault::Keycloak, 1, 1);

    let refused: Result<Report, Failure> = chaos::run_on(&options, keycloak().await?).await;

    assert!(refused.is_err_and(|error| error.to_string().contains("may be killed")));
    Ok(())
}
