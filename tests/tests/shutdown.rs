//! A shutdown waits for the store where it holds the only live refresh token there is.

use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::{Fault, Proxy};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result};

#[tokio::test]
async fn a_spend_that_was_answered_while_redis_was_away_outlives_the_shutdown() -> Result<()> {
    let mut redis = Redis::options().append_only().start().await?;
    let realm = LabRealm::builder().at_ttl(8).create().await?;
    let proxy = Proxy::to(keycloak().await?.address()).await?;
    let secret = redis.password_file().with_file_name("login-app.secret");
    std::fs::write(&secret, realm.secret(LOGIN_APP))?;
    let mut vault = Vault::builder()?
        .redis(&redis)
        .tenant_at(&realm, &proxy.url("http"))?
        .module(Module::new("mod-di").register(&["adopt"]))
        .set(&format!("tenants.{}.adopt_clients.{LOGIN_APP}", realm.name()), secret.display().to_string())
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
