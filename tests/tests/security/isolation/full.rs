//! Redis is full: it is said, and what is there can still be read, renewed and ended.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;

use crate::isolation::stage::{Stage, body};

const LIFE: u64 = 10;

async fn limit(redis: &Redis, bytes: u64) -> Result<()> {
    let mut connection = redis.connection().await?;
    let mut set = redis::cmd("CONFIG");
    Ok(set.arg("SET").arg("maxmemory").arg(bytes).query_async(&mut connection).await?)
}

async fn readiness(stage: &mut Stage) -> Result<(u16, Value)> {
    let url = format!("{}/readyz", stage.vault.replica().management_url());
    let answer = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test]
async fn with_a_full_redis_jobs_are_read_renewed_released_and_revoked_and_everybody_is_told() -> Result<()> {
    let redis = Redis::options().append_only().start().await?;
    let admin = |vault: tokenvault_tests::harness::vault::VaultBuilder| vault.admin().expect("an operators' listener");
    let mut stage = Stage::with(redis, LabRealm::builder().at_ttl(LIFE), admin).await?;
    let operator = stage.vault.operator("operate", 0)?;
    let proof = stage.login().await?;
    for (job, acquisition) in [
        ("kept", "exchange"),
        ("released", "exchange"),
        ("released-own", "impersonate"),
        ("revoked", "exchange"),
        ("mass-1", "impersonate"),
        ("mass-2", "exchange"),
    ] {
        stage.good.put(job, &body(&proof, acquisition)).await?.expect_status(201)?;
    }
    let child = serde_json::json!({"parent_job_id": "kept"});
    stage.good.put("part", &child).await?.expect_status(201)?;
    let user = stage.good.get("kept").await?.body["user_id"].as_str().unwrap_or_default().to_owned();
    limit(&stage.redis, 1).await?;

    let (status, told) = readiness(&mut stage).await?;
    assert_eq!(status, 503, "{told}");
    assert!(told["parts"]["store"].as_str().is_some_and(|why| why.contains("out_of_memory")), "{told}");
    let replica = stage.vault.replica();
    wait_until("the metric to say so", SOON, async || {
        replica.metric("tokenvault_store_refuses_writes", "").await.is_ok_and(|refuses| refuses > 0.0)
    })
    .await?;
    let refused = stage.good.put("new", &body(&proof, "exchange")).await?.expect_status(503)?;
    assert_eq!((refused.code(), refused.body["reason"].as_str()), ("store_unavailable", Some("store_full")));

    for job in ["released", "released-own", "part"] {
        stage.good.delete(job).await?.expect_status(204)?;
        stage.good.get(job).await?.expect_status(410)?;
    }
    let tenant = stage.realm.name().to_owned();
    operator.call(Method::DELETE, &format!("/admin/v1/jobs/{tenant}/revoked"), None).await?.expect_status(200)?;
    let renewed = async || -> Result<bool> {
        let answer = stage.good.get_with("kept", "wait=0").await?.expect_status(200)?;
        Ok(answer.body["generation"].as_u64() > Some(1))
    };
    wait_until("the one that is left to be renewed", Duration::from_secs(LIFE), async || {
        renewed().await.unwrap_or(false)
    })
    .await?;

    let path = format!("/admin/v1/users/{tenant}/{user}/jobs");
    let revoked = operator.call(Method::DELETE, &path, None).await?.expect_status(200)?;
    assert_eq!(revoked.body["failed"].as_array().map(Vec::len), Some(0), "{}", revoked.body);
    assert_eq!(revoked.body["revoked"].as_array().map(Vec::len), Some(3), "{}", revoked.body);

    limit(&stage.redis, 0).await?;
    assert_eq!(readiness(&mut stage).await?.0, 200);
    let again = stage.login().await?;
    stage.good.put("new", &body(&again, "exchange")).await?.expect_status(201)?;
    Ok(())
}
