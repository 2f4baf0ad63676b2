//! A wrong key under the right name is named for what it is, before anything is served or sealed with it; the right file put
//! back is all it takes, and no job is lost meanwhile.

mod stage;

use std::fs;

use redis::AsyncCommands as _;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::vault::tokenvault;

use crate::wrong_key::stage::{CHECKS, Stage, keygen, keyring_part, write};

fn length(list: &Value) -> usize {
    list.as_array().map_or(0, Vec::len)
}

/// The id of a keyring's primary key.
fn primary(keyring: &str) -> Result<String> {
    let table: toml::Table = keyring.parse()?;
    Ok(table["primary"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn two_keys_made_on_one_day_have_different_names() -> Result<()> {
    let (one, other) = (primary(&keygen(&["--primary"])?)?, primary(&keygen(&["--primary"])?)?);
    assert_ne!(one, other);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_at_a_restart_is_named_and_the_right_one_put_back_is_all_it_takes() -> Result<()> {
    let mut stage = Stage::with_jobs(&["one", "two"]).await?;
    let right = fs::read_to_string(stage.keyring())?;

    stage.restart_with(&keygen(&["--primary", "--id", "k1"])?).await?;

    let problem = stage.until_wrong("k1", 0).await?;
    let known = stage.vouched("k1").await?.unwrap_or_default();
    assert!(problem.contains(&known), "{problem}");
    assert!(stage.vault.replica().process().log().contains("is not the one of its id"));
    for job in ["one", "two"] {
        let read = stage.read(job, 0).await?;
        assert_eq!((read.status.as_u16(), read.code()), (503, "key_unavailable"), "{read:?}");
    }
    let new = stage.register("new", 0).await?;
    assert_eq!((new.status.as_u16(), new.code()), (503, "key_unavailable"), "{new:?}");
    let replica = stage.vault.replica();
    wait_until("the metric", SOON, async || {
        replica.metric("tokenvault_keyring_wrong_key", "key=\"k1\"").await.is_ok_and(|wrong| wrong > 0.0)
    })
    .await?;
    assert!(replica.metric("tokenvault_seal_failures_total", "").await? < 1.0, "nothing was forged");
    let (verdict, finding) = stage.doctor("k1")?;
    assert!(verdict == "hazard" && finding.contains("a wrong key") && finding.contains(&known), "{finding}");
    let config = stage.vault.replica().config_file().display().to_string();
    let checked = String::from_utf8(tokenvault(&["check-config", "--config", &config])?.stdout)?;
    assert!(checked.contains("keyring: k1 seals, of k1 (check value ") && !checked.contains(&known), "{checked}");

    write(&stage.keyring(), &right)?;

    stage.until_ready(0).await?;
    for job in ["one", "two"] {
        let read = stage.read(job, 0).await?.expect_status(200)?;
        assert_eq!(read.body["generation"], 1, "nothing was done to it meanwhile: {read:?}");
    }
    stage.register("new", 0).await?.expect_status(201)?;
    let replica = stage.vault.replica();
    wait_until("the metric to clear", SOON, async || {
        replica.metric("tokenvault_keyring_wrong_key", "key=\"k1\"").await.is_ok_and(|wrong| wrong < 1.0)
    })
    .await?;
    assert_eq!(stage.doctor("k1")?.0, "fine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_has_vouched_the_first_wrong_key_does_not_become_the_right_one() -> Result<()> {
    let mut stage = Stage::with_jobs(&["one"]).await?;
    let right = fs::read_to_string(stage.keyring())?;
    stage.stop().await?;
    stage.forget_checks().await?;

    write(&stage.keyring(), &keygen(&["--primary", "--id", "k1"])?)?;
    stage.vault.replica().respawn()?;

    stage.until_wrong("k1", 0).await?;
    assert_eq!(stage.doctor("k1")?.0, "hazard");
    assert_eq!(stage.read("one", 0).await?.code(), "key_unavailable");
    assert_eq!(stage.register("new", 0).await?.code(), "key_unavailable");
    assert_eq!(stage.vouched("k1").await?, None, "a key that opens nothing vouches for nothing");
    write(&stage.keyring(), &right)?;
    stage.until_ready(0).await?;
    stage.read("one", 0).await?.expect_status(200)?;
    stage.until_vouched("k1").await
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_fresh_replicas_with_two_keys_of_one_name_one_alone_seals() -> Result<()> {
    let mut stage = Stage::set(2).await?;
    stage.stop().await?;
    let _: () = redis::cmd("FLUSHALL").query_async(&mut stage.redis.connection().await?).await?;
    let files = [stage.keyring(), stage.own_keyring(1, &keygen(&["--primary", "--id", "k1"])?)?];
    for replica in stage.vault.replicas() {
        replica.respawn()?;
    }

    let replicas = stage.vault.replicas();
    let first = poll("one to be first", SOON, async || {
        let well = async |replica| keyring_part(replica).await.as_deref() == Some("ok");
        if well(&replicas[0]).await { Some(0) } else { well(&replicas[1]).await.then_some(1) }
    })
    .await?;
    let second = 1 - first;
    stage.until_ready(first).await?;
    stage.until_wrong("k1", second).await?;

    stage.register("job", first).await?.expect_status(201)?;
    assert_eq!(stage.register("other", second).await?.code(), "key_unavailable");
    let keys = stage.keys(second).await?;
    let key = &keys["keys"][0];
    assert_eq!((&key["id"], key["check"].as_str()), (&json!("k1"), stage.vouched("k1").await?.as_deref()));
    assert_eq!((length(&key["replicas"]), length(&key["missing"])), (1, 1), "{keys}");
    assert_eq!(key["wrong"], key["missing"], "{keys}");
    let promotion = stage.promote("k1", first).await?;
    assert_eq!((promotion.code(), &promotion.body["replicas"]), ("key_not_held", &key["wrong"]), "{promotion:?}");
    assert_eq!(stage.read("job", second).await?.code(), "key_unavailable");
    write(&files[second], &fs::read_to_string(&files[first])?)?;
    stage.until_ready(second).await?;
    stage.read("job", second).await?.expect_status(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_installations_file_seals_nothing_here() -> Result<()> {
    let mut stage = Stage::with_jobs(&["one"]).await?;
    let right = fs::read_to_string(stage.keyring())?;

    stage.restart_with(&keygen(&["--primary", "--id", "staging"])?).await?;

    let problem = stage.until_wrong("staging", 0).await?;
    assert!(problem.contains("another installation"), "{problem}");
    assert_eq!(stage.read("one", 0).await?.code(), "key_unavailable");
    assert_eq!(stage.register("new", 0).await?.code(), "key_unavailable");
    assert_eq!(stage.vouched("staging").await?, None);
    write(&stage.keyring(), &right)?;
    stage.until_ready(0).await?;
    stage.read("one", 0).await?.expect_status(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_installation_is_noticed_while_it_runs() -> Result<()> {
    let mut stage = Stage::with_jobs(&["one"]).await?;
    let right = stage.vouched("k1").await?.unwrap_or_default();
    let mut redis = stage.redis.connection().await?;

    let _: () = redis.hset(CHECKS, "k1", "0123456789abcdef").await?;

    let problem = stage.until_wrong("k1", 0).await?;
    assert!(problem.contains("0123456789abcdef"), "{problem}");
    assert_eq!(stage.register("new", 0).await?.code(), "key_unavailable");
    let _: () = redis.hset(CHECKS, "k1", &right).await?;
    stage.until_ready(0).await?;
    stage.read("one", 0).await?.expect_status(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_old_key_is_named_and_what_other_keys_have_sealed_is_served() -> Result<()> {
    let mut stage = Stage::with_jobs(&["old"]).await?;
    let (right, next) = (fs::read_to_string(stage.keyring())?, keygen(&["--id", "k2"])?);
    let both = |old: &str| old.replace("primary = \"k1\"", "primary = \"k2\"") + &next;
    stage.restart_with(&both(&right)).await?;
    stage.until_ready(0).await?;
    stage.register("young", 0).await?.expect_status(201)?;

    stage.restart_with(&both(&keygen(&["--primary", "--id", "k1"])?)).await?;

    stage.until_wrong("k1", 0).await?;
    assert_eq!(stage.read("old", 0).await?.code(), "key_unavailable");
    stage.read("young", 0).await?.expect_status(200)?;
    stage.register("younger", 0).await?.expect_status(201)?;
    write(&stage.keyring(), &both(&right))?;
    stage.until_ready(0).await?;
    for job in ["old", "young", "younger"] {
        stage.read(job, 0).await?.expect_status(200)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_named_as_soon_as_redis_is_back() -> Result<()> {
    let mut stage = Stage::with_jobs(&["one"]).await?;
    let right = fs::read_to_string(stage.keyring())?;
    stage.redis.kill().await?;

    stage.restart_with(&keygen(&["--primary", "--id", "k1"])?).await?;

    let replica = stage.vault.replica();
    wait_until("the replica to answer", SOON, async || keyring_part(replica).await.is_some_and(|part| part == "ok"))
        .await?;
    assert!(!replica.is_ready().await, "what is to be looked at is the store, and until then nothing is served");
    stage.redis.restart().await?;
    stage.until_wrong("k1", 0).await?;
    assert_eq!(stage.read("one", 0).await?.code(), "key_unavailable");
    write(&stage.keyring(), &right)?;
    stage.until_ready(0).await?;
    stage.read("one", 0).await?.expect_status(200)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_that_is_put_in_while_it_runs_is_refused_and_the_right_one_stays() -> Result<()> {
    let mut stage = Stage::with_jobs(&["one"]).await?;
    let right = fs::read_to_string(stage.keyring())?;

    write(&stage.keyring(), &keygen(&["--primary", "--id", "k1"])?)?;

    let replica = stage.vault.replica();
    wait_until("the refusal", SOON, async || {
        replica.metric("tokenvault_keyring_refused", "").await.is_ok_and(|told| told > 0.5)
    })
    .await?;
    assert!(replica.is_ready().await);
    write(&stage.keyring(), &right)?;
    let replica = stage.vault.replica();
    wait_until("the refusal to end", SOON, async || {
        replica.metric("tokenvault_keyring_refused", "").await.is_ok_and(|told| told < 0.5)
    })
    .await?;
    stage.read("one", 0).await?.expect_status(200)?;
    Ok(())
}
