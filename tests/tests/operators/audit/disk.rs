//! The audit log's disk: full, and given room again; and the file moved away under a vault at work.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};

use crate::audit::stage::Stage;

fn full(file: &Path) -> Result<()> {
    Ok(symlink("/dev/full", file)?)
}

#[tokio::test]
async fn a_full_disk_stops_what_must_be_recorded_and_costs_no_job() -> Result<()> {
    let mut stage = Stage::set(true, |_| Ok(())).await?;
    let (client, login) = (stage.client()?, stage.realm.login("alice").await?);
    client.register("kept", &login).await?.expect_status(201)?;
    client.register("released", &login).await?.expect_status(201)?;
    let generation = client.get("kept").await?.expect_status(200)?.body["generation"].as_u64().unwrap_or_default();

    fs::rename(&stage.file, stage.beside("audit.log.1"))?;
    full(&stage.file)?;
    let refused = client.get("kept").await?.expect_status(503)?;
    assert_eq!((refused.code(), refused.access_token()), ("audit_unavailable", ""));
    assert_eq!(refused.header("retry-after"), "1");
    let refused = client.register("new", &login).await?.expect_status(503)?;
    assert_eq!(refused.code(), "audit_unavailable");
    client.delete("released").await?.expect_status(204)?;
    assert!(!stage.vault.replica().is_ready().await, "callers are better served by another replica");
    stage.until_up(false).await?;
    // Two lives of an access token: it was renewed all the same.
    tokio::time::sleep(Duration::from_secs(10)).await;

    fs::remove_file(&stage.file)?;
    stage.until_up(true).await?;
    let answer = client.get("kept").await?.expect_status(200)?;
    assert!(answer.body["generation"].as_u64().unwrap_or_default() > generation, "no renewal was held up");
    assert_eq!(client.get("new").await?.code(), "job_not_found", "refused before it was begun");
    client.register("new", &stage.realm.login("alice").await?).await?.expect_status(201)?;

    let lines = stage.lines()?;
    assert_eq!(
        (&lines[0]["act"], &lines[0]["outcome"], &lines[0]["detail"]),
        (&"audit".into(), &"resumed".into(), &"0 lost".into())
    );
    let acts = stage.acts()?;
    for kept in ["end released", "release ok"] {
        assert_eq!(acts.iter().filter(|act| *act == kept).count(), 1, "{kept} in {acts:?}");
    }
    assert!(lines.iter().any(|line| line["act"] == "renew"), "renewals of the time without room: {lines:#?}");
    Ok(())
}

#[tokio::test]
async fn a_pipe_that_nobody_reads_stops_what_must_be_recorded_until_somebody_does() -> Result<()> {
    let mut stage = Stage::set(true, |_| Ok(())).await?;
    let (client, login) = (stage.client()?, stage.realm.login("alice").await?);
    client.register("kept", &login).await?.expect_status(201)?;
    client.register("released", &login).await?.expect_status(201)?;

    fs::rename(&stage.file, stage.beside("audit.log.1"))?;
    assert!(Command::new("mkfifo").arg(&stage.file).status()?.success());
    assert_eq!(client.register("begun", &login).await?.expect_status(503)?.code(), "audit_unavailable");
    assert_eq!(client.get("kept").await?.expect_status(503)?.code(), "audit_unavailable");
    assert!(!stage.vault.replica().is_ready().await, "callers are better served by another replica");
    stage.until_up(false).await?;
    client.delete("released").await?.expect_status(204)?;

    let pipe = stage.file.clone();
    let reader = std::thread::spawn(move || std::io::copy(&mut fs::File::open(pipe)?, &mut std::io::sink()));
    stage.until_up(true).await?;
    client.get("kept").await?.expect_status(200)?;
    client.get("begun").await?.expect_status(200)?;
    drop(stage);
    let read = reader.join().expect("the reader does not panic")?;
    assert!(read > 0);
    Ok(())
}

#[tokio::test]
async fn rotation_loses_no_line_in_either_way() -> Result<()> {
    let mut stage = Stage::set(true, |_| Ok(())).await?;
    stage.realm.admin().update_realm(stage.realm.name(), &json!({ "accessTokenLifespan": 600 })).await?;
    let (client, login) = (stage.client()?, stage.realm.login("alice").await?);
    client.register("job", &login).await?.expect_status(201)?;
    let rotating = Arc::new(AtomicBool::new(true));
    let reading = tokio::spawn({
        let (client, rotating) = (client.clone(), Arc::clone(&rotating));
        async move {
            let mut reads = 0_usize;
            while rotating.load(Ordering::Relaxed) {
                client.get("job").await?.expect_status(200)?;
                reads += 1;
            }
            Ok::<usize, tokenvault_tests::harness::Failure>(reads)
        }
    });
    let mut rotated = Vec::new();
    for number in 1..=6 {
        tokio::time::sleep(Duration::from_millis(60)).await;
        let old = stage.beside(&format!("audit.log.{number}"));
        fs::rename(&stage.file, &old)?;
        if number % 2 == 0 {
            stage.vault.replica().process().hang_up()?;
        }
        rotated.push(old);
        wait_until("a new file", SOON, async || stage.file.exists()).await?;
    }
    rotating.store(false, Ordering::Relaxed);
    let reads = reading.await.map_err(|error| tokenvault_tests::harness::Failure::new(error.to_string()))??;
    let mut all = String::new();
    for file in rotated.iter().chain([&stage.file]) {
        all.push_str(&fs::read_to_string(file)?);
    }
    let lines: Vec<serde_json::Value> = all.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert!(lines.iter().zip(1..).all(|(line, seq)| line["seq"] == seq), "a line is missing");
    assert_eq!(lines.iter().filter(|line| line["act"] == "read").count(), reads);
    Ok(())
}
