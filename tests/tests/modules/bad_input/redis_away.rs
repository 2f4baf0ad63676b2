//! Redis away at the start, killed in the middle, frozen: calls say so, and what was acknowledged is there afterwards.

use std::time::{Duration, Instant};

use serde_json::Value;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result};

use crate::bad_input::stage::{Stage, assert_no_record, assert_problem, new_job, proof, stage, with};

async fn vault(stage: &Stage, redis: &Redis) -> Result<Vault> {
    Vault::builder()?.redis(redis).tenant(&stage.realm)?.module(Module::new("mod-di")).start().await
}

async fn management(vault: &mut Vault, path: &str) -> Result<(u16, Value)> {
    let url = format!("{}{path}", vault.replica().management_url());
    let answer = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
    Ok((answer.status().as_u16(), answer.json().await.unwrap_or_default()))
}

/// Every call says that the store is unavailable; returns the job that was to be registered.
async fn assert_storeless(stage: &Stage, client: &Client, job: &str) -> Result<String> {
    let (new, login) = (new_job(), stage.realm.login("alice").await?);
    assert_problem(&client.get_with(job, "wait=0").await?, 503, "store_unavailable");
    assert_problem(&client.register(&new, &login).await?, 503, "store_unavailable");
    assert_problem(&client.register(job, &login).await?, 503, "store_unavailable");
    assert_problem(&client.delete(job).await?, 503, "store_unavailable");
    let list = client.call(reqwest::Method::GET, "/tokens?user_id=u", None).await?;
    assert_problem(&list, 503, "store_unavailable");
    Ok(new)
}

/// What was refused is registered now.
async fn assert_recovered(stage: &Stage, client: &Client, refused: &str) -> Result<()> {
    let login = stage.realm.login("alice").await?;
    wait_until("the store to be found again", SOON, async || {
        client.register(refused, &login).await.is_ok_and(|answer| answer.status == 201)
    })
    .await?;
    client.get(refused).await?.expect_status(200)?;
    Ok(())
}

#[tokio::test]
async fn without_redis_the_vault_starts_says_so_and_recovers_by_itself() -> Result<()> {
    let stage = stage().await?;
    let mut redis = Redis::options().append_only().start().await?;
    let mut vault = vault(&stage, &redis).await?;
    let client = vault.client("mod-di")?;
    redis.kill().await?;
    let health = format!("{}/healthz", vault.replica().management_url());
    let http = reqwest::Client::builder().no_proxy().build()?;
    vault.replica().kill();
    let replica = vault.replica();
    tokio::select! {
        outcome = replica.restart() => {
            outcome?;
            return Err(Failure::new("ready without Redis"));
        }
        up = wait_until("the process to be up", SOON, async || http.get(&health).send().await.is_ok()) => up?,
    }

    let (status, told) = management(&mut vault, "/readyz").await?;
    assert_eq!(status, 503, "{told}");
    assert_eq!(told["ready"], false);
    assert_ne!(told["parts"]["store"], "ok", "{told}");
    for part in ["keyring", "policy", "tls"] {
        assert_eq!(told["parts"][part], "ok", "{told}");
    }
    assert_eq!(management(&mut vault, "/healthz").await?.0, 200);
    let refused = assert_storeless(&stage, &client, &new_job()).await?;

    redis.restart().await?;
    let replica = vault.replica();
    wait_until("readiness", SOON, async || replica.is_ready().await).await?;
    assert_recovered(&stage, &client, &refused).await
}

#[tokio::test]
async fn a_killed_redis_loses_nothing_that_was_acknowledged() -> Result<()> {
    let stage = stage().await?;
    let mut redis = Redis::options().append_only().start().await?;
    let mut vault = vault(&stage, &redis).await?;
    let (job, client, login) = (new_job(), vault.client("mod-di")?, stage.realm.login("alice").await?);
    client.register(&job, &login).await?.expect_status(201)?;
    let token = client.get(&job).await?.expect_status(200)?;

    redis.kill().await?;
    let refused = assert_storeless(&stage, &client, &job).await?;
    assert_eq!(management(&mut vault, "/readyz").await?.0, 503);
    redis.restart().await?;

    assert_no_record(&redis, &refused).await?;
    wait_until("the store to be found again", SOON, async || {
        client.get(&job).await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;
    assert_eq!(client.get(&job).await?.access_token(), token.access_token());
    client.put(&job, &with(proof(&login), "readers", vec!["mod-second"])).await?.expect_status(200)?;
    assert_recovered(&stage, &client, &refused).await?;
    client.delete(&job).await?.expect_status(204)?;
    Ok(())
}

#[tokio::test]
async fn a_frozen_redis_is_given_up_in_time() -> Result<()> {
    let stage = stage().await?;
    let mut redis = Redis::start().await?;
    let vault = vault(&stage, &redis).await?;
    let (job, client, login) = (new_job(), vault.client("mod-di")?, stage.realm.login("alice").await?);
    client.register(&job, &login).await?.expect_status(201)?;

    redis.pause().await?;
    let begun = Instant::now();
    assert_problem(&client.get_with(&job, "wait=0").await?, 503, "store_unavailable");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    redis.resume().await?;

    wait_until("the store to answer again", SOON, async || {
        client.get(&job).await.is_ok_and(|answer| answer.status == 200)
    })
    .await
}
