//! Keys: promoted only when every live replica holds them, and everything sealed anew after that.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::vault::tokenvault;
use tokenvault_tests::harness::{Failure, Result};

use crate::admin::stage::Stage;

/// Gives the second replica a keyring file of its own, a copy of the one both have.
async fn keyrings(stage: &mut Stage) -> Result<[PathBuf; 2]> {
    let shared = stage.vault.dir().join("keyring.toml");
    let own = stage.vault.dir().join("keyring-1.toml");
    fs::copy(&shared, &own)?;
    let replica = &mut stage.vault.replicas()[1];
    let file = replica.config_file().to_owned();
    let changed = fs::read_to_string(&file)?.replace("keyring.toml", "keyring-1.toml");
    fs::write(&file, changed)?;
    replica.terminate(SOON).await?;
    replica.restart().await?;
    Ok([shared, own])
}

fn append(keyring: &Path, entry: &str) -> Result<()> {
    let both = format!("{}{entry}", fs::read_to_string(keyring)?);
    let staged = keyring.with_extension("new");
    fs::write(&staged, both)?;
    fs::rename(&staged, keyring)?;
    Ok(())
}

fn held_by(keys: &Value, id: &str) -> usize {
    let key = keys["keys"].as_array().into_iter().flatten().find(|key| key["id"] == id);
    key.and_then(|key| key["replicas"].as_array()).map_or(0, Vec::len)
}

async fn until_held_by(stage: &mut Stage, id: &str, replicas: usize) -> Result<()> {
    let viewer = stage.vault.operator("view", 0)?;
    wait_until(&format!("{id} held by {replicas}"), SOON, || async {
        let keys = viewer.call(reqwest::Method::GET, "/admin/v1/keys", None).await;
        keys.is_ok_and(|keys| held_by(&keys.body, id) == replicas)
    })
    .await
}

/// Begins to wait for a key, and only then gives it to the replica that misses it.
async fn promoted_once_the_second_has_it(stage: &mut Stage, keyring: &Path, entry: &str) -> Result<()> {
    let (out, err) = (stage.vault.dir().join("promoted"), stage.vault.dir().join("waiting"));
    let arguments = ["keys", "promote", "k2", "--wait", "60", "--output", "json"];
    let mut promotion = stage.admin_in_background((&out, &err), &arguments)?;
    wait_until("the missing replica to be named", SOON, async || {
        fs::read_to_string(&err).is_ok_and(|told| told.starts_with("k2 is missing on replica-"))
    })
    .await?;
    assert!(promotion.try_wait()?.is_none(), "it waits");
    append(keyring, entry)?;
    let mut ended = None;
    wait_until("the promotion", SOON, || {
        ended = promotion.try_wait().ok().flatten();
        let over = ended.is_some();
        async move { over }
    })
    .await?;
    let told = fs::read_to_string(&out)?;
    assert!(ended.is_some_and(|status| status.success()), "{told}{}", fs::read_to_string(&err)?);
    assert_eq!(serde_json::from_str::<Value>(&told)?, json!({ "primary": "k2", "changed": true }));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_promoted_once_every_replica_holds_it_and_then_everything_is_sealed_with_it() -> Result<()> {
    let mut stage = Stage::set(600, 2).await?;
    let keyrings = keyrings(&mut stage).await?;
    let proof = stage.login("alice").await?;
    for job in ["one", "two"] {
        stage.register(job, &proof, json!({})).await?;
    }
    let unknown = stage.admin(&["keys", "promote", "k2"])?;
    assert_eq!(unknown.status, 4, "{unknown:?}");

    let entry = String::from_utf8_lossy(&tokenvault(&["keygen", "--id", "k2"])?.stdout).into_owned();
    append(&keyrings[0], &entry)?;
    until_held_by(&mut stage, "k2", 1).await?;
    let refused = stage.admin(&["keys", "promote", "k2"])?;
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.err.contains("(key_not_held)") && refused.err.contains("replicas: replica-"), "{refused:?}");
    assert_eq!(stage.job("one")?["sealed_with"], json!(["k1"]));

    let late = stage.admin(&["keys", "promote", "k2", "--wait", "1"])?;
    assert!(late.status == 1 && late.err.contains("k2 is still missing on replica-"), "{late:?}");
    assert_eq!(stage.job("one")?["sealed_with"], json!(["k1"]));
    promoted_once_the_second_has_it(&mut stage, &keyrings[1], &entry).await?;
    stage.register("three", &proof, json!({})).await?;
    let finished = stage.admin(&["reseal", "--yes", "--wait", "--output", "json"])?.done()?.json()?;
    assert_eq!(
        (&finished["state"], &finished["key"], &finished["failed"]),
        (&json!("finished"), &json!("k2"), &json!(0))
    );
    assert!(finished["seen"].as_u64() >= Some(3) && finished["resealed"].as_u64() >= Some(2), "{finished}");

    let keys = stage.admin(&["keys", "list", "--output", "json"])?.done()?.json()?;
    let records = |id: &str| {
        let key = keys["keys"].as_array().into_iter().flatten().find(|key| key["id"] == id).cloned();
        key.map(|key| key["records"].clone()).ok_or_else(|| Failure::new(format!("no {id} in {keys}")))
    };
    assert_eq!((records("k1")?, records("k2")?), (json!(0), json!(3)));
    assert_eq!((&keys["primary"], &keys["promoted"]), (&json!("k2"), &json!(true)));
    for job in ["one", "two", "three"] {
        stage.module()?.get(job).await?.expect_status(200)?;
    }
    Ok(())
}
