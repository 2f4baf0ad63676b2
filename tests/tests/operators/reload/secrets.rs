//! Clients' secrets that change at Keycloak and in their files while the vault runs.

use std::fs;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::realm::{LabRealm, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;

use crate::reload::PROMISED;

const MODULE: &str = "mod-data-import";

#[tokio::test]
async fn a_changed_secret_is_used_at_once_and_the_jobs_that_were_refused_recover() -> Result<()> {
    let redis = Redis::start().await?;
    let mut realm = LabRealm::builder().at_ttl(12).create().await?;
    // What recovers by itself only does so when this test is long over.
    let patience = 600;
    let mut vault = Vault::builder()?
        .redis(&redis)
        .tenant(&realm)?
        .module(Module::new(MODULE))
        .set("renewal.retry_min", patience)
        .set("renewal.retry_max", patience)
        .start()
        .await?;
    let (client, proof) = (vault.client(MODULE)?, realm.login("alice").await?);
    client.register("before", &proof).await?.expect_status(201)?;

    let mut representation = realm.admin().client(realm.name(), VAULT).await?;
    representation["secret"] = json!("another-secret");
    realm.admin().put_client(realm.name(), &representation).await?;
    realm.learn_secret(VAULT, "another-secret");
    let refused = client.register("meanwhile", &realm.login("alice").await?).await?.expect_status(502)?;
    assert_eq!(refused.body["reason"], "client_rejected");
    let replica = vault.replica();
    let log = replica.process().log_path().to_owned();
    let told = |words: &'static str| {
        let log = log.clone();
        async move { fs::read_to_string(log).is_ok_and(|log| log.contains(words)) }
    };
    wait_until("the job to be refused", SOON, || told("Keycloak refuses the vault's client")).await?;

    // An empty file is not a secret, and neither is none.
    let file = vault.dir().join(format!("{}.secret", realm.name()));
    fs::write(&file, "")?;
    wait_until("word of it", PROMISED, || told("is empty; it must hold a secret")).await?;
    fs::remove_file(&file)?;
    wait_until("word of it", PROMISED, || told("cannot be read")).await?;
    assert!(vault.replica().metric("tokenvault_reload_failures_total", "secrets").await? >= 2.0);
    assert!(vault.replica().is_ready().await);

    fs::write(&file, "another-secret\n")?;
    let proof = realm.login("alice").await?;
    wait_until("a registration", PROMISED, || async {
        client.register("after", &proof).await.is_ok_and(|answer| answer.status.as_u16() == 201)
    })
    .await?;
    wait_until("the refused job's token", PROMISED, || async {
        client.get("before").await.is_ok_and(|answer| answer.status.as_u16() == 200)
    })
    .await?;
    let log = vault.replica().process().log();
    assert!(log.contains("what the tenants' clients prove themselves with was read again"), "{log}");
    assert!(!log.contains("another-secret"), "no secret is told");
    Ok(())
}
