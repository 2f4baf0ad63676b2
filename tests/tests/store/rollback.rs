//! A real Redis that loses what it has acknowledged: how that is noticed, and that it costs nothing where the replica that
//! wrote it lives.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use tokenvault_core::ports::{ServerStore, StoreCause, StoreError};
use tokenvault_redis::RedisStore;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::realm::{LOGIN_APP, VAULT};
use tokenvault_tests::harness::redis::{Redis, unhurried};
use tokenvault_tests::stage::{REGISTRAR, Stage, check_live};

/// A few renewals, and once the quarantine, where a spend was under way just when Redis was killed.
const PATIENCE: Duration = Duration::from_secs(90);
const AT_TTL: u64 = 8;
const JOBS: [&str; 2] = ["exchanged", "adopted"];

#[tokio::test]
async fn a_restart_begins_another_epoch_of_the_store() -> Result<()> {
    let mut redis = Redis::options().append_only().start().await?;
    let store = RedisStore::connect(&unhurried(redis.url()))?;
    let before = store.epoch().await?;
    assert_eq!(store.epoch().await?, before, "nothing has happened");

    redis.kill().await?;
    redis.restart().await?;

    assert_ne!(store.epoch().await?, before);
    Ok(())
}

#[tokio::test]
async fn a_replica_that_takes_over_begins_another_epoch_of_the_store() -> Result<()> {
    let primary = Redis::start().await?;
    let replica = Redis::options().replica_of(&primary).start().await?;
    let ask = async |command: &str, args: &[&str]| -> Result<String> {
        Ok(redis::cmd(command).arg(args).query_async(&mut replica.connection().await?).await?)
    };
    let following =
        async || ask("INFO", &["replication"]).await.is_ok_and(|info| info.contains("master_link_status:up"));
    wait_until("the replica to follow", SOON, following).await?;
    let of_primary = RedisStore::connect(&unhurried(primary.url()))?.epoch().await?;
    let store = RedisStore::connect(&unhurried(replica.url()))?;
    assert_eq!(
        store.epoch().await,
        Err(StoreError::Unavailable(StoreCause::ReadOnly)),
        "a replica is not asked for anything"
    );

    // The process stays the same: only the id of its history tells.
    ask("REPLICAOF", &["NO", "ONE"]).await?;

    let promoted = poll("the promoted server to be asked", SOON, async || store.epoch().await.ok()).await?;
    assert_ne!(promoted, of_primary, "whoever is led from one to the other sees another epoch");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_comes_back_from_an_older_snapshot_costs_no_job_and_no_token_is_sent_twice() -> Result<()> {
    // It writes to disk only when it is told to: what came after that is lost with it.
    let mut stage = Stage::on(Redis::start().await?, AT_TTL, 2, &[]).await?;
    // The adopted job is to spend its refresh tokens, so its client must not exchange, not even by the legacy way.
    let (realm, attribute) = (stage.realm.name(), "standard.token.exchange.enabled");
    stage.realm.admin().set_client_attribute(realm, LOGIN_APP, attribute, "true").await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let (ui, deposited) = (stage.login().await?, stage.login().await?);
    stage.registered("exchanged", &ui, json!({})).await?;
    let adopted = json!({"acquisition": "adopt", "refresh_token": deposited.refresh()});
    stage.registered("adopted", &deposited, adopted).await?;
    let at_least = async |stage: &Stage, least: [u64; 2]| -> Result<[u64; 2]> {
        poll("newer pairs of both jobs", PATIENCE, async || {
            let now = generations(stage).await.ok()?;
            now.iter().zip(least).all(|(now, least)| *now >= least).then_some(now)
        })
        .await
    };

    let saved = at_least(&stage, [2, 2]).await?;
    redis::cmd("SAVE").query_async::<()>(&mut stage.redis.connection().await?).await?;
    let lost = at_least(&stage, saved.map(|generation| generation + 2)).await?;
    stage.redis.kill().await?;
    stage.redis.restart().await?;

    at_least(&stage, lost.map(|generation| generation + 2)).await?;
    for job in JOBS {
        let answer = stage.vault.client_of(REGISTRAR, 1)?.get(job).await?;
        check_live(&answer, &user)?;
        assert_eq!(stage.save_record(answer.access_token()).await?, 200, "{job}");
    }
    for client in [VAULT, LOGIN_APP] {
        let sent = stage.refresh_tokens_sent(client).await?;
        let distinct: BTreeSet<_> = sent.iter().collect();
        assert_eq!(sent.len(), distinct.len(), "{client}: a refresh token was sent twice");
        assert!(client == VAULT || sent.len() >= 5, "the adopted job did not spend: {}", sent.len());
    }
    let logs = stage.vault.replicas().iter_mut().map(|replica| replica.process().log()).collect::<String>();
    assert!(logs.contains("the newer one was written again"), "the store was not told again what it had lost");
    stage.ui_refreshes(&ui).await.map(drop)
}

/// The generations that a reader is given.
async fn generations(stage: &Stage) -> Result<[u64; 2]> {
    let reader = stage.reader(0)?;
    let mut found = [0; 2];
    for (job, generation) in JOBS.iter().zip(&mut found) {
        *generation = reader.get(job).await?.expect_status(200)?.body["generation"].as_u64().unwrap_or_default();
    }
    Ok(found)
}
