//! Storms on real processes, short enough to be run with everything else. The long ones: `--bin chaos`.
//!
//! All of them stand on a Keycloak of these tests' own, on PostgreSQL, with the preview feature that impersonation needs;
//! jobs of all three acquisitions live side by side. The one that kills Keycloak has it to itself, and its name puts it last,
//! where the others need not wait for it; the longest comes first.
#![allow(clippy::print_stdout, reason = "a storm that fails shows its account")]

use std::time::Duration;

use tokenvault_tests::chaos::ground::Ground;
use tokenvault_tests::chaos::orphans::LOOK;
use tokenvault_tests::chaos::{self, Acquisition, Fault, LEASE, Options, Report};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::{Failure, Result};
use tokio::sync::{OnceCell, RwLock};

async fn ground() -> Result<&'static RwLock<Ground>> {
    static GROUND: OnceCell<RwLock<Ground>> = OnceCell::const_new();
    GROUND.get_or_try_init(|| async { Ok(RwLock::new(Ground::prepare(true).await?)) }).await
}

/// A storm over jobs of every kind. Adopted ones are left alone for so many seconds where an answer was lost.
fn options(fault: Fault, seconds: u64, jobs: usize, quarantine: u64) -> Options {
    Options { quarantine, ..Options::new(&Acquisition::ALL, fault, seconds, jobs) }
}

async fn storm(options: &Options) -> Result<Report> {
    let report = match options.fault {
        Fault::Keycloak | Fault::All => chaos::run(options, &mut *ground().await?.write().await).await?,
        _ => chaos::run_on(options, &ground().await?.read().await.keycloak).await?,
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(report)
}

/// What holds for every storm that the product is put through.
fn assert_kept(report: &Report) {
    assert_eq!(report.excess_loss, 0, "{report:?}");
    assert_eq!(report.double_spends, 0, "{report:?}");
    assert_eq!((report.expired_served, report.foreign_served, report.inactive_served), (0, 0, 0), "{report:?}");
    assert_eq!(report.ui_sessions_killed, 0, "{report:?}");
    assert_eq!(report.errors_unexplained, 0, "{report:?}");
    assert!(report.reads > 0 && report.renewals > 0 && report.sampled > 0, "nothing was under way: {report:?}");
    let least = report.renewals_by_replica.iter().sum::<u64>() / 10;
    assert!(
        report.renewals_by_replica.iter().all(|share| *share > least),
        "one replica did hardly anything: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_each_second_for_two_minutes_costs_no_kind_of_job_what_could_be_saved() -> Result<()> {
    let report = storm(&options(Fault::Kill, 120, 30, 10)).await?;

    assert_kept(&report);
    assert!(report.struck.kills >= 100 && report.orphans > 0, "{report:?}");
    // By the clock, too, it is the lease and a second on a machine at rest; a busy one is no reason to fail.
    let (lease, second) = (Duration::from_secs(LEASE), Duration::from_secs(1));
    assert!(LOOK * report.orphan_pickup_looks_max <= lease + 3 * second, "{report:?}");
    assert!(report.orphan_pickup_seconds_max <= (lease + 10 * second).as_secs_f64(), "{report:?}");
    // Each was cut off with its replica. On a busy machine the next one may not be up yet, but most reads get through.
    assert!(report.errors_after_retry * 5 <= report.reads, "{report:?}");
    Ok(())
}

/// The same storm for the real renewer and the naive one.
fn bad_ways() -> Options {
    options(Fault::Proxy, 20, 24, 5)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_ways_to_keycloak_and_redis_cost_nothing_that_could_be_saved() -> Result<()> {
    let report = storm(&bad_ways()).await?;

    assert_kept(&report);
    assert!(report.struck.keycloak_requests > 0 && report.struck.redis_requests > 0, "{report:?}");
    assert!(report.struck.copies > 0, "nothing arrived twice: {report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_bad_ways_cost_a_naive_renewer_its_jobs() -> Result<()> {
    let report = storm(&Options { naive: true, ..bad_ways() }).await?;

    assert!(report.struck.keycloak_requests > 0, "{report:?}");
    assert!(report.excess_loss > 0, "the storm does not tell a naive renewer from the real one: {report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_stop_for_longer_than_their_lease_harm_nothing() -> Result<()> {
    let report = storm(&options(Fault::Stop, 25, 24, 12)).await?;

    assert_kept(&report);
    assert!(report.struck.stops > 0 && report.struck.stops_at_spend > 0, "{report:?}");
    assert!(report.leases_lost > 0 && report.held_in_stopped > 0, "nobody was stopped in the middle: {report:?}");
    assert_eq!(report.lost, 0, "an answer that waits for its process is not lost: {report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_killed_and_comes_back_costs_nothing() -> Result<()> {
    let report = storm(&options(Fault::Redis, 20, 24, 5)).await?;

    assert_kept(&report);
    assert!(report.struck.redis_restarts > 0, "{report:?}");
    assert_eq!(report.lost, 0, "whoever has an answer lives on: {report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_everything_strikes_in_turn_nothing_is_lost_that_could_be_saved() -> Result<()> {
    let report = storm(&options(Fault::All, 50, 24, 5)).await?;

    assert_kept(&report);
    let struck = report.struck;
    assert!(struck.kills > 0 && struck.stops > 0 && struck.keycloak_requests > 0, "{report:?}");
    assert!(struck.redis_restarts > 0 && struck.keycloak_restarts > 0, "{report:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_keycloak_is_not_for_killing() -> Result<()> {
    let options = Options::new(&[Acquisition::Exchange], Fault::Keycloak, 1, 1);

    let refused: Result<Report, Failure> = chaos::run_on(&options, keycloak().await?).await;

    assert!(refused.is_err_and(|error| error.to_string().contains("may be killed")));
    Ok(())
}
