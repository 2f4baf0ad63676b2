//! A paused fleet renews nothing and goes on serving; it ends when an operator says so, and by itself.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::AttemptId;
use tokenvault_core::ports::Pause;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::replicas::{LIFE, Noticed, REGISTRAR, Replica};
use tokenvault_tests::reseal::{job, keyring_file, record};
use tokenvault_vault::problem::Code;

const RHYTHM: Duration = Duration::from_millis(100);
/// Longer than the reconciler needs to claim what is due, several times over.
const A_WHILE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_paused_fleet_claims_nothing_serves_what_it_has_and_goes_on_afterwards() -> Result<()> {
    let redis = Redis::start().await?;
    let (_dir, file) = keyring_file()?;
    let replica = Replica::start("r", &redis.url(), &file, RHYTHM, &Arc::new(Noticed::default())).await?;
    let parts = &replica.services;
    let pause = async |until| -> Result<()> {
        let now = parts.clock.now();
        let (by, reason) = ("alice".to_owned(), "a test".to_owned());
        parts.fleet.pause(&Pause { since: now, until, by, reason }).await?;
        wait_until("the pause to be heard of", SOON, async || parts.replica.pause.is_paused(parts.clock.now())).await
    };
    pause(parts.clock.now() + Duration::from_mins(10)).await?;
    // Half of its token's life is over: it is due, and lives.
    let now = parts.clock.now();
    let due = record(&replica, 1, (now - LIFE / 2, now), (false, 8));
    parts.store.create(&due, None, AttemptId::from_bits(1)).await?;

    assert!(replica.read(&job(1)).await.is_ok(), "reads go on");
    let fresh = LIFE.saturating_sub(Duration::from_secs(30));
    let refused = replica.read_for(REGISTRAR, &job(1), Some(fresh), A_WHILE).await.err();
    assert_eq!(refused.map(|problem| problem.code), Some(Code::TokenNotReady));
    let stored = parts.store.load(&due.key).await?.expect("it is there");
    assert_eq!((stored.record.generation, stored.leased_until), (due.generation, None), "nobody has claimed it");

    assert!(parts.fleet.resume().await?);
    assert!(replica.read_for(REGISTRAR, &job(1), Some(fresh), SOON).await.is_ok(), "it is renewed now");

    pause(parts.clock.now() + Duration::from_secs(5)).await?;
    wait_until("the pause to end by itself", SOON, async || !parts.replica.pause.is_paused(parts.clock.now())).await?;
    let now = parts.clock.now();
    parts.store.make_due(&due.key, now, now).await?;
    let before = parts.store.load(&due.key).await?.expect("it is there").record.generation;
    wait_until("the job to be renewed", SOON, async || {
        parts.store.load(&due.key).await.is_ok_and(|stored| stored.is_some_and(|now| now.record.generation > before))
    })
    .await
}

#[tokio::test]
async fn a_replica_that_stops_says_good_bye_and_one_that_is_killed_is_forgotten() -> Result<()> {
    let redis = Redis::start().await?;
    let (_dir, file) = keyring_file()?;
    let noticed = Arc::new(Noticed::default());
    let start = async |name| Replica::start(name, &redis.url(), &file, RHYTHM, &noticed).await;
    let (stays, stops, dies) = (start("stays").await?, start("stops").await?, start("dies").await?);
    let fleet = &stays.services.fleet;
    let names = async || -> Vec<String> {
        let all = fleet.replicas().await.unwrap_or_default();
        all.into_iter().map(|status| status.id.to_string()).collect()
    };
    wait_until("all to be heard of", SOON, async || names().await.len() == 3).await?;

    stops.stop().await;
    assert_eq!(names().await, ["dies", "stays"]);
    dies.kill();

    wait_until("the killed one to be forgotten", SOON, async || names().await == ["stays"]).await
}
