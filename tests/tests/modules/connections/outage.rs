//! What was out of reach is back: nothing stays slow after that.

use std::time::{Duration, Instant};

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::wait_until;
use tokenvault_tests::harness::proxy::Fault;
use tokenvault_tests::harness::stand_in::SECRET;

use crate::connections::stage::Stage;

const JOBS: usize = 20;
/// Five seconds, and some more for a machine that is busy; without what is tested here it takes 10 or 18.
const SOON: Duration = Duration::from_secs(8);
/// In which old builds' pauses are long over, so that the time taken is told.
const LATE: Duration = Duration::from_mins(1);

/// Long enough for all pauses to have become as long as they get, and for the access tokens to die.
const AN_OUTAGE: Duration = Duration::from_secs(40);

async fn stage() -> Result<Stage> {
    let stage = Stage::set(30, &["h2", "http/1.1"]).await?;
    stage.register(JOBS, Duration::from_millis(100)).await?;
    Ok(stage)
}

/// Waits until every job has a token again, which must not take long.
async fn ready_soon(stage: &mut Stage) -> Result<()> {
    let back = Instant::now();
    wait_until("every job to be ready", LATE, async || {
        stage.generations(JOBS).await.is_ok_and(|now| now.iter().all(Option::is_some))
    })
    .await?;
    let took = back.elapsed();
    assert!(took < SOON, "the last job was ready after {took:?}");
    assert!(stage.vault.replica().metric("tokenvault_jobs_ended_total", "").await? < 1.0, "a job has ended");
    assert!(stage.said(&["Keycloak answers again"]));
    Ok(())
}

async fn keycloak_is_away(fault: Fault) -> Result<()> {
    let mut stage = stage().await?;
    stage.keycloak.set(fault);
    stage.keycloak.hang_up();
    tokio::time::sleep(AN_OUTAGE).await;
    assert!(stage.generations(JOBS).await?.iter().all(Option::is_none), "their tokens have died");

    stage.keycloak.clear();

    ready_soon(&mut stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_forty_seconds_without_keycloak_every_job_is_ready_within_five() -> Result<()> {
    keycloak_is_away(Fault::Refuse).await
}

#[tokio::test(flavor = "multi_thread")]
async fn after_forty_seconds_without_an_answer_from_keycloak_every_job_is_ready_within_five() -> Result<()> {
    keycloak_is_away(Fault::SwallowAnswer).await
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_clients_secret_is_right_again_at_keycloak_every_job_is_ready_within_five_seconds() -> Result<()> {
    let mut stage = stage().await?;
    stage.set_secret("another")?;
    tokio::time::sleep(AN_OUTAGE).await;
    assert!(stage.generations(JOBS).await?.iter().all(Option::is_none), "their tokens have died");

    stage.set_secret(SECRET)?;

    ready_soon(&mut stage).await
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_were_in_hand_when_redis_went_away_are_renewed_as_soon_as_it_is_back() -> Result<()> {
    let mut stage = Stage::set(20, &["h2", "http/1.1"]).await?;
    stage.register(JOBS, Duration::ZERO).await?;
    let before = stage.generations(JOBS).await?;
    // Keycloak takes a while for each, so that all are in hand when the store goes.
    stage.keycloak.set(Fault::Delay(Duration::from_secs(3)));
    wait_until("most to be in hand", LATE, async || stage.in_hand().await.is_ok_and(|jobs| jobs > JOBS / 2)).await?;

    stage.redis.set(Fault::Refuse);
    stage.redis.hang_up();
    tokio::time::sleep(Duration::from_secs(5)).await;
    stage.keycloak.clear();
    stage.redis.clear();

    let back = Instant::now();
    stage.renewed_since(&before, LATE).await?;
    let took = back.elapsed();
    assert!(took < SOON, "the last job was renewed after {took:?}");
    assert!(stage.vault.replica().metric("tokenvault_jobs_ended_total", "").await? < 1.0, "a job has ended");
    Ok(())
}
