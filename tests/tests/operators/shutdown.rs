//! A shutdown says so to balancers first and serves on meanwhile, and it waits for the store where it holds the only live refresh
//! token there is.
#![allow(clippy::disallowed_methods, reason = "it watches real processes, so it reads the real clock")]

use std::time::{Duration, Instant};

use serde_json::json;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::{Fault, Proxy};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result};
use tokenvault_tests::rollout::stage::{JOB, Stage};

#[tokio::test]
async fn a_spend_that_was_answered_while_redis_was_away_outlives_the_shutdown() -> Result<()> {
    let mut redis = Redis::options().append_only().start().await?;
    let realm = LabRealm::builder().at_ttl(8).create().await?;
    let proxy = Proxy::to(keycloak().await?.address()).await?;
    let mut vault = Vault::builder()?
        .redis(&redis)
        .tenant_at(&realm, &proxy.url("http"))?
        .module(Module::new("mod-di").register(&["adopt"]))
        .adopt_from(&realm, LOGIN_APP)?
        .set("server.shutdown_grace", 1)
        .start()
        .await?;
    let client = vault.client("mod-di")?;
    let pair = realm.login("alice").await.map_err(|error| Failure::new(format!("{error:?}")))?;
    let deposit = json!({"access_token": pair.access_token, "refresh_token": pair.refresh(), "acquisition": "adopt"});
    client.put("job", &deposit).await?.expect_status(201)?;

    // A token that dies while nobody renews it cannot be exchanged any more: the refresh token must be spent.
    vault.replica().process().pause()?;
    wait_until("the access token to die", SOON, async || realm.is_active(&pair.access_token).await.is_ok_and(|it| !it))
        .await?;
    proxy.strike(Fault::Delay(Duration::from_secs(6)), 1, "grant_type=refresh_token");
    vault.replica().process().resume()?;
    wait_until("the refresh token to be spent", SOON, async || proxy.struck() == 1).await?;
    redis.kill().await?;
    let log = vault.replica().process().log_path().to_owned();
    let told = async || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("waiting for the store"));
    let status = tokio::select! {
        status = vault.replica().terminate(SOON * 2) => status?,
        outcome = async {
            wait_until("the vault to say what it waits for", SOON, told).await?;
            redis.restart().await?;
            std::future::pending::<Result<_>>().await
        } => outcome?,
    };
    assert!(status.success(), "{status}");

    // What was lost would have been spent: nobody could renew the job any more.
    vault.replica().restart().await?;
    let client = vault.client("mod-di")?;
    let token = client.get_with("job", "wait=10").await?.expect_status(200)?;
    assert!(token.body["generation"].as_u64() > Some(1), "{token:?}");
    Ok(())
}

async fn status(http: &reqwest::Client, url: &str) -> Result<u16> {
    Ok(http.get(url).send().await?.status().as_u16())
}

#[tokio::test]
async fn who_is_asked_to_stop_says_no_to_balancers_and_serves_everybody_for_a_while() -> Result<()> {
    const DELAY: u64 = 8;
    let mut stage = Stage::set(1, DELAY).await?;
    let (module, fresh, operator, idp) =
        (stage.module()?, stage.module()?, stage.vault.operator("view", 0)?, stage.vault.idp_client(0)?);
    let management = stage.vault.replica().management_url();
    let (http, registration) = (reqwest::Client::builder().no_proxy().build()?, stage.registration());
    stage.lose_keycloak();
    wait_until("a token with less than is asked for", SOON, async || {
        module.get_with(JOB, "min_ttl=5&wait=0").await.is_ok_and(|answer| answer.code() == "token_not_ready")
    })
    .await?;
    let waiting = tokio::spawn(async move { module.get_with(JOB, "min_ttl=5&wait=30").await });

    let begun = Instant::now();
    let stopped = stage.vault.replica().terminate(SOON);
    let meanwhile = async {
        let ready = format!("{management}/readyz");
        let told = async || status(&http, &ready).await.is_ok_and(|status| status == 503);
        wait_until("balancers to be told", SOON, told).await?;
        fresh.get_with(JOB, "min_ttl=0").await?.expect_status(200)?;
        fresh.put(JOB, &registration).await?.expect_status(200)?;
        operator.call(reqwest::Method::GET, "/admin/v1/status", None).await?.expect_status(200)?;
        idp.call(reqwest::Method::POST, "/backchannel-logout/nobody", None).await?.expect_status(404)?;
        assert_eq!(status(&http, &format!("{management}/healthz")).await?, 200);
        assert_eq!(status(&http, &format!("{management}/metrics")).await?, 200);
        assert!(!waiting.is_finished(), "a read goes on waiting");
        Ok::<_, Failure>(())
    };
    let (stopped, meanwhile) = tokio::join!(stopped, meanwhile);
    meanwhile?;
    assert!(stopped?.success());
    assert!(begun.elapsed() >= Duration::from_secs(DELAY), "{:?}", begun.elapsed());
    assert_eq!(waiting.await??.expect_status(503)?.code(), "token_not_ready");
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_the_time_that_balancers_are_given() -> Result<()> {
    let mut stage = Stage::set(1, 300).await?;
    let impatient = stage.vault.replica().terminate(Duration::from_secs(1)).await;
    assert!(impatient.is_err(), "{impatient:?}");
    assert!(!stage.vault.replica().is_ready().await);
    stage.module()?.get(JOB).await?.expect_status(200)?;

    assert!(stage.vault.replica().terminate(SOON).await?.success());

    let log = stage.vault.replica().process().log();
    assert!(!log.contains("stopped without waiting"), "what is in hand is finished all the same: {log}");
    Ok(())
}
