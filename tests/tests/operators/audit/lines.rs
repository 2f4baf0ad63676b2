//! Each act and its line.

use std::fs;

use aws_lc_rs::hmac;
use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::VAULT;

use crate::audit::stage::{HASH_KEY, Stage};

/// As docs/reference/audit.md tells how to find a user's lines.
fn name_of(kind: &str, tenant: &str, id: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, HASH_KEY.as_bytes());
    let tag = hmac::sign(&key, format!("{kind}\0{tenant}\0{id}").as_bytes());
    tag.as_ref()[..16].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[tokio::test]
async fn each_act_leaves_exactly_its_line_and_no_secret() -> Result<()> {
    let mut stage = Stage::set(true, |_| Ok(())).await?;
    let (client, login) = (stage.client()?, stage.realm.login("alice").await?);
    let user = stage.realm.user("alice")?.user_id.clone();
    let reader = stage.vault.client("mod-reader")?;

    client.register("job-1", &login).await?.expect_status(201)?;
    client.register("job-1", &login).await?.expect_status(200)?;
    client.put("part-1", &json!({ "parent_job_id": "job-1" })).await?.expect_status(201)?;
    let served = client.get("job-1").await?.expect_status(200)?;
    reader.get("job-1").await?.expect_status(404)?;
    reader.put("job-2", &json!({ "access_token": login.access_token })).await?.expect_status(403)?;
    client.put("job-2", &json!({ "access_token": "not a token" })).await?.expect_status(422)?;
    client.put("job-2", &json!({ "nothing": login.access_token })).await?.expect_status(400)?;
    client.call(reqwest::Method::GET, &format!("/tokens?user_id={user}"), None).await?.expect_status(200)?;
    let renewed = stage.line("renew").await?;
    client.delete("job-1").await?.expect_status(204)?;
    client.get("job-1").await?.expect_status(410)?;
    stage.line("end").await?;

    let expected = [
        "register ok",
        "register ok",
        "amend ok",
        "read ok",
        "read job_not_found",
        "register action_denied",
        "register token_rejected",
        "register invalid_request",
        "list ok",
        "end released",
        "release ok",
        "read job_ended",
    ];
    let mut acts =
        poll("the last line", SOON, || async { stage.acts().ok().filter(|acts| acts.len() >= expected.len()) }).await?;
    acts.sort();
    let mut sorted = expected.map(str::to_owned);
    sorted.sort();
    assert_eq!(acts, sorted);

    let lines = stage.lines()?;
    assert!(lines.iter().zip(1..).all(|(line, seq)| line["seq"] == seq), "a gap: {lines:#?}");
    let tenant = stage.realm.name().to_owned();
    let read = lines.iter().find(|line| line["act"] == "read").cloned().unwrap_or_default();
    for (member, value) in [
        ("actor", json!("module")),
        ("name", json!("mod-di")),
        ("tenant", json!(tenant)),
        ("job", json!("job-1")),
        ("user", json!(name_of("user", &tenant, &user))),
        ("request_id", json!("r/1")),
        ("detail", json!(format!("generation {}", served.body["generation"]))),
    ] {
        assert_eq!(read[member], value, "{member}");
    }
    let child = lines.iter().find(|line| line["job"] == "part-1").cloned().unwrap_or_default();
    assert_eq!((&child["act"], &child["name"]), (&json!("register"), &json!("mod-di")));
    assert_eq!(child["detail"], "exchange, proven by the parent job-1");
    assert_eq!((&renewed["actor"], &renewed["detail"]), (&json!("vault"), &json!("exchange, generation 2")));
    let sid = tokenvault_tests::harness::tokens::claims(&login.access_token)["sid"].clone();
    let session = name_of("session", &tenant, sid.as_str().unwrap_or_default());
    assert_eq!(renewed["session"], session);
    assert_eq!(lines[0]["session"], session);

    let text = fs::read_to_string(&stage.file)?;
    let secret = stage.realm.secret(VAULT);
    let ids = [user.as_str(), sid.as_str().unwrap_or_default(), secret, HASH_KEY, "eyJ"];
    assert!(ids.iter().all(|id| !text.contains(id)), "an id or a secret in\n{text}");
    stage.vault.replica().terminate(SOON).await?;
    Ok(())
}

#[tokio::test]
async fn what_the_log_lists_is_told_to_operators_who_watch() -> Result<()> {
    let stage = Stage::set(false, |_| Ok(())).await?;
    let (client, login) = (stage.client()?, stage.realm.login("alice").await?);
    client.register("job-1", &login).await?.expect_status(201)?;
    stage.line("renew").await?;
    client.get("job-1").await?.expect_status(200)?;
    client.delete("job-1").await?.expect_status(204)?;
    stage.line("end").await?;
    let fleet = tokenvault_redis::RedisStore::connect(&tokenvault_redis::RedisConfig {
        pool_size: 1,
        connect_timeout: SOON,
        response_timeout: SOON,
        ..tokenvault_redis::RedisConfig::new(stage.redis.url())
    })?;
    let kinds = poll("the events", SOON, async || {
        let events = tokenvault_core::ports::EventStore::events(&fleet, None, 100).await.ok()?;
        let kinds: Vec<String> = events.into_iter().map(|event| event.kind).collect();
        kinds.contains(&"ended".to_owned()).then_some(kinds)
    })
    .await?;
    assert_eq!(
        (kinds.first().map(String::as_str), kinds.last().map(String::as_str)),
        (Some("registered"), Some("ended"))
    );
    assert!(kinds.iter().any(|kind| kind == "renewed") && !kinds.iter().any(|kind| kind == "read"), "{kinds:?}");
    Ok(())
}

#[tokio::test]
async fn a_configuration_that_would_record_nothing_or_show_users_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let sample = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/tokenvault.toml"))?;
    let said = |from: &str, to: &str| -> Result<String> {
        let file = dir.path().join("tokenvault.toml");
        fs::write(&file, sample.replace(from, to))?;
        let checked =
            tokenvault_tests::harness::vault::tokenvault(&["check-config", "--config", &file.display().to_string()])?;
        Ok(String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned())
    };
    let alone = said("required = false", "required = true")?;
    assert!(alone.contains("audit.required: needs `file`"), "{alone}");
    let keyless = said("# file = \"/var/log", "file = \"/var/log")?;
    assert!(keyless.contains("audit.hash_key_file: is missing"), "{keyless}");
    fs::create_dir(dir.path().join("secrets"))?;
    fs::write(dir.path().join("secrets/audit-hash-key"), "short")?;
    let short = said("# hash_key_file", "hash_key_file")?;
    assert!(short.contains("is too short") && !short.contains("short\""), "{short}");
    Ok(())
}
