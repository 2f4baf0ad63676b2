//! A Keycloak that is set up otherwise than by default, within what the standards allow: no job is lost by it, and no other job
//! is hurt.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::poll;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;

const MODULE: &str = "mod-di";
const PATIENCE: Duration = Duration::from_mins(1);

/// A vault that takes deposited pairs of the client that users log in with.
struct Stage {
    realm: LabRealm,
    vault: Vault,
    _redis: Redis,
}

impl Stage {
    async fn start(realm: LabRealm) -> Result<Self> {
        let redis = Redis::start().await?;
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .adopt_from(&realm, LOGIN_APP)?
            .set("renewal.retry_max", 2)
            .module(Module::new(MODULE).register(&["adopt", "exchange"]))
            .start()
            .await?;
        Ok(Self { realm, vault, _redis: redis })
    }

    async fn deposit(&self, tokens: &Tokens) -> Result<String> {
        let job = uuid::Uuid::new_v4().to_string();
        let body = json!({
            "acquisition": "adopt",
            "access_token": tokens.access_token,
            "refresh_token": tokens.refresh(),
        });
        self.vault.client(MODULE)?.put(&job, &body).await?.expect_status(201)?;
        Ok(job)
    }

    async fn renewals(&mut self, step: &str) -> Result<f64> {
        let labels = format!("step=\"{step}\",outcome=\"ok\"");
        Ok(self.vault.replica().metric("tokenvault_renewals_total", &labels).await.unwrap_or_default())
    }
}

/// Waits until a job has had so many pairs, and is served the newest one.
async fn had(client: &Client, job: &str, generations: u64) -> Result<()> {
    poll("a renewal", PATIENCE, || async {
        let answer = client.get(job).await.ok().filter(|answer| answer.status == 200)?;
        answer.body["generation"].as_u64().filter(|generation| *generation >= generations)
    })
    .await
    .map(drop)
}

/// RFC 6749 §6: an answer to a refresh need not bring a new refresh token, and a client policy of Keycloak's sees to it that none
/// does. Then the old one stays the one to use.
#[tokio::test]
async fn a_job_goes_on_with_its_refresh_token_where_keycloak_gives_no_new_one() -> Result<()> {
    let realm = LabRealm::builder().at_ttl(6).rotation(false).create().await?;
    let policies = format!("/{}/client-policies", realm.name());
    let profile = json!({ "profiles": [{
        "name": "no-rotation",
        "executors": [{ "executor": "suppress-refresh-token-rotation", "configuration": {} }],
    }] });
    realm.admin().call(Method::PUT, &format!("{policies}/profiles"), Some(&profile)).await?;
    let policy = json!({ "policies": [{
        "name": "everybody",
        "enabled": true,
        "conditions": [{ "condition": "any-client", "configuration": {} }],
        "profiles": ["no-rotation"],
    }] });
    realm.admin().call(Method::PUT, &format!("{policies}/policies"), Some(&policy)).await?;
    // Its jobs are to spend, so the client must not exchange, not even by the legacy way.
    realm.admin().set_client_attribute(realm.name(), LOGIN_APP, "standard.token.exchange.enabled", "true").await?;
    let mut stage = Stage::start(realm).await?;
    let tokens = stage.realm.login("alice").await?;

    let job = stage.deposit(&tokens).await?;

    had(&stage.vault.client(MODULE)?, &job, 4).await?;
    assert!(stage.renewals("spend").await? >= 3.0, "this client may not exchange");
    Ok(())
}

/// What Keycloak says of one user's token concerns that user's job.
#[tokio::test]
async fn a_pair_that_cannot_be_exchanged_does_not_keep_others_of_its_client_from_it() -> Result<()> {
    // An offline token that has an end looks like any other to whoever does not look closely.
    let lives = [("offlineSessionMaxLifespanEnabled", json!(true)), ("offlineSessionMaxLifespan", json!(86_400))];
    let builder = LabRealm::builder().at_ttl(6);
    let realm = lives.into_iter().fold(builder, |builder, (name, value)| builder.setting(name, value)).create().await?;
    for (name, value) in [
        ("standard.token.exchange.enabled", "true"),
        ("standard.token.exchange.enableRefreshRequestedTokenType", "SAME_SESSION"),
    ] {
        realm.admin().set_client_attribute(realm.name(), LOGIN_APP, name, value).await?;
    }
    let mut stage = Stage::start(realm).await?;
    let offline = stage.realm.login_with_scope("alice", "openid offline_access").await?;
    let client = stage.vault.client(MODULE)?;

    let apart = stage.deposit(&offline).await?;
    had(&client, &apart, 2).await?;
    assert!(stage.renewals("spend").await? >= 1.0, "its session is an offline one");
    let tokens = stage.realm.login("bob").await?;
    let job = stage.deposit(&tokens).await?;

    had(&client, &job, 3).await?;
    had(&client, &apart, 3).await?;
    assert!(stage.renewals("exchange").await? >= 2.0, "nothing was learnt of the client");
    Ok(())
}
