//! What an operator reads while the store is away: its cause, once, and not a line for everything that it is missing for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::Fault;

use crate::connections::stage::{Stage, job_id};

const JOBS: usize = 5;
/// So many reads are refused meanwhile.
const READS: usize = 100;

/// The warnings and errors among the lines, each with how often it is there.
fn complaints(lines: &[Value]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for line in lines.iter().filter(|line| line["level"] == "WARN" || line["level"] == "ERROR") {
        *found.entry(line["message"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_its_cause_is_said_once_and_nothing_that_follows_from_it() -> Result<()> {
    let mut stage = Stage::set(300, &["h2"]).await?;
    stage.register(JOBS, Duration::ZERO).await?;

    stage.redis.set(Fault::Refuse);
    stage.redis.hang_up();
    let client = stage.client()?;
    for read in 0..READS {
        let answer = client.get_with(&job_id(read % JOBS), "min_ttl=0&wait=0").await?;
        assert_eq!((answer.status.as_u16(), answer.code()), (503, "store_unavailable"));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.redis.clear();
    wait_until("the store to answer again", SOON, async || {
        client.get_with(&job_id(0), "min_ttl=0&wait=0").await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;

    let log = stage.vault.replica().process().log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let complaints = complaints(&lines);
    assert!(complaints.keys().any(|said| said.starts_with("the store is unavailable: it closed")), "{complaints:?}");
    assert!(complaints.keys().all(|said| said.starts_with("the store is unavailable: ")), "{complaints:?}");
    // A minute may end in between.
    assert!(complaints.values().all(|times| *times <= 2), "{complaints:?}");
    let answered = lines.iter().filter(|line| line["message"] == "answered");
    let spans: Vec<_> = answered.map(|line| (line["span"].is_object(), line.get("spans").is_some())).collect();
    assert!(spans.len() > READS);
    assert!(stage.said(&["the store answers again"]));
    assert!(spans.iter().all(|span| *span == (true, false)), "each line has its span once");
    Ok(())
}
