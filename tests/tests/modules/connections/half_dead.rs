//! Connections that stand take what comes and never answer; new ones work.

use std::time::{Duration, Instant};

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::wait_until;

use crate::connections::stage::Stage;

/// Within which everything goes on once new connections work.
const SOON: Duration = Duration::from_secs(20);
const JOBS: usize = 21;

/// Freezes the connections to Keycloak, and waits until all is well.
async fn keycloak_freezes(protocols: &[&str]) -> Result<Stage> {
    let mut stage = Stage::set(20, protocols).await?;
    stage.register(JOBS, Duration::from_millis(300)).await?;
    let first = stage.generations(JOBS).await?;
    stage.renewed_since(&first, Duration::from_secs(30)).await?;
    let before = stage.generations(JOBS).await?;

    stage.keycloak.freeze();

    let frozen = Instant::now();
    stage.renewed_since(&before, SOON).await?;
    let took = frozen.elapsed();
    assert!(took < SOON, "it took {took:?}");
    assert!(stage.vault.replica().metric("tokenvault_jobs_ended_total", "").await? < 1.0, "a job has ended");
    let login = stage.login().await?;
    stage.client()?.put("after", &serde_json::json!({ "access_token": login })).await?.expect_status(201)?;
    Ok(stage)
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_over_http2_freezes_and_renewals_go_on_over_a_new_connection() -> Result<()> {
    let mut stage = keycloak_freezes(&["h2", "http/1.1"]).await?;
    let address = stage.keycloak.url("https");
    assert!(stage.said(&["\"level\":\"WARN\"", &address]), "the address is named in a warning");
    assert!(stage.vault.replica().metric("tokenvault_connections_left_total", "keycloak").await? >= 1.0);
    Ok(())
}

/// Each has a connection of its own there, which closes with the call that was not answered: no more needs to be said.

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_over_http1_freezes_and_renewals_go_on_over_new_connections() -> Result<()> {
    keycloak_freezes(&["http/1.1"]).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_freezes_and_reads_and_renewals_go_on_over_new_connections() -> Result<()> {
    let mut stage = Stage::set(20, &["h2"]).await?;
    stage.register(JOBS, Duration::from_millis(300)).await?;
    let before = stage.generations(JOBS).await?;

    stage.redis.freeze();

    let frozen = Instant::now();
    wait_until("reads to be answered", SOON, async || {
        stage.generations(JOBS).await.is_ok_and(|now| now.iter().all(Option::is_some))
    })
    .await?;
    let (read, redis) = (frozen.elapsed(), stage.redis.address().to_string());
    assert!(read < Duration::from_secs(12), "reads were answered after {read:?}");
    stage.renewed_since(&before, SOON).await?;
    assert!(stage.said(&["\"level\":\"WARN\"", &redis]), "the address is named in a warning");
    assert!(stage.vault.replica().metric("tokenvault_connections_left_total", "redis").await? >= 1.0);
    Ok(())
}
