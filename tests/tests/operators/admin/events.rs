//! The live tail: what modules, replicas and operators do is seen as it happens.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};

use crate::admin::stage::Stage;

fn kinds(file: &std::path::Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let word = |event: &Value, member: &str| event[member].as_str().unwrap_or_default().to_owned();
    events.map(|event| (word(&event, "kind"), word(&event, "job_id"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_is_seen_live_and_once_even_over_a_restart_of_the_replica() -> Result<()> {
    let mut stage = Stage::set(600, 2).await?;
    let tenant = stage.realm.name().to_owned();
    let file = stage.vault.dir().join("events.jsonl");
    let seen = |kind: &str, job: &str| {
        let (file, wanted) = (file.clone(), (kind.to_owned(), job.to_owned()));
        async move { wait_until(&format!("{wanted:?}"), SOON, || async { kinds(&file).contains(&wanted) }).await }
    };
    // Something to start behind.
    stage.admin(&["pause", "--for", "60", "--reason", "before", "--yes"])?.done()?;
    let before = stage.admin(&["events", "--recent", "1", "--no-follow", "-o", "json"])?.done()?.json()?;
    let id = before["id"].as_str().unwrap_or_default();
    let complaints = stage.vault.dir().join("events.err");
    let mut tail = stage
        .admin_in_background((&file, &complaints), &["events", "--after", id, "--output", "json", "--count", "9"])?;

    stage.admin(&["resume"])?.done()?;
    seen("resumed", "").await?;
    let proof = stage.login("alice").await?;
    stage.register("job", &proof, json!({})).await?;
    seen("registered", "job").await?;
    stage.admin(&["jobs", "renew", &tenant, "job", "--wait", "20"])?.done()?;
    seen("renewed", "job").await?;
    // The replica that is watched goes away, and comes back.
    stage.vault.replica().terminate(SOON).await?;
    let other = stage.vault.client_of(crate::admin::stage::MODULE, 1)?;
    other.delete("job").await?.expect_status(204)?;
    stage.vault.replica().restart().await?;
    seen("ended", "job").await?;
    stage.admin(&["pause", "--for", "60", "--reason", "a test", "--yes"])?.done()?;
    stage.admin(&["resume"])?.done()?;
    stage.admin(&["reseal", "--yes", "--wait"])?.done()?;
    seen("reseal_finished", "").await?;
    stage.admin(&["pause", "--for", "60", "--reason", "the ninth", "--yes"])?.done()?;

    let mut ended = None;
    wait_until("the end of the tail", SOON, || {
        ended = tail.try_wait().ok().flatten();
        let over = ended.is_some();
        async move { over }
    })
    .await?;
    assert!(ended.is_some_and(|status| status.success()));
    let expected = [
        ("resumed", ""),
        ("registered", "job"),
        ("renewed", "job"),
        ("ended", "job"),
        ("paused", ""),
        ("resumed", ""),
        ("reseal_started", ""),
        ("reseal_finished", ""),
        ("paused", ""),
    ];
    assert_eq!(kinds(&file), expected.map(|(kind, job)| (kind.to_owned(), job.to_owned())));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_taken_out_of_the_policy_reads_no_further() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let address = format!("{}/admin/v1/events", stage.vault.replica().admin_url());
    let viewer = stage.vault.operator("view", 0)?;
    let mut stream = viewer.http().get(address).send().await?.error_for_status()?;
    let policy = stage.vault.dir().join("operators.toml");
    let without = fs::read_to_string(&policy)?.replace("operator-view", "operator-gone");
    fs::write(&policy, without)?;

    let end = tokio::time::timeout(Duration::from_secs(5), async {
        while stream.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    });
    end.await.map_err(|_| tokenvault_tests::harness::Failure::new("the stream goes on"))??;
    viewer.call(reqwest::Method::GET, "/admin/v1/status", None).await?.expect_status(403)?;
    Ok(())
}
