//! The harness's vault is the product's binary with a real store and a real Keycloak.

use crate::harness::Result;
use crate::harness::certs::Subject;
use crate::harness::policy::Module;
use crate::harness::process::SOON;
use crate::harness::realm::LabRealm;
use crate::harness::redis::Redis;
use crate::harness::vault::{Vault, tokenvault};

#[tokio::test]
async fn two_replicas_serve_one_job_and_one_outlives_the_other() -> Result<()> {
    let redis = Redis::options().append_only().password("p4ss").start().await?;
    let realm = LabRealm::builder().at_ttl(30).create().await?;
    let mut vault =
        Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di")).replicas(2).start().await?;
    let (first, second) = (vault.client_of("mod-di", 0)?, vault.client_of("mod-di", 1)?);

    let alice = realm.login("alice").await?;
    first.register("job-1", &alice).await?.expect_status(201)?;
    vault.replica().kill();
    let read = second.get("job-1").await?.expect_status(200)?;

    assert_eq!(read.body["user_id"], realm.user("alice")?.user_id.as_str());
    assert!(realm.is_active(read.access_token()).await?);
    assert!(!format!("{read:?}").contains(read.access_token()));

    vault.replica().restart().await?;
    first.get("job-1").await?.expect_status(200)?;
    assert!(vault.replica().metric("tokenvault_reads_total", "").await? >= 1.0);
    let ended = vault.replica().terminate(SOON).await?;
    assert!(ended.success(), "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_certificate_without_an_entry_is_nobody() -> Result<()> {
    let redis = Redis::start().await?;
    let realm = LabRealm::builder().create().await?;
    let vault = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di")).start().await?;
    let stranger = vault.ca().issue(&Subject::client().uri("spiffe://test/stranger"))?;

    let answer = vault.client_with(&stranger, 0)?.get("job-1").await?.expect_status(403)?;

    assert_eq!(answer.code(), "caller_unknown");
    Ok(())
}

#[test]
fn the_binary_says_its_name() -> Result<()> {
    let output = tokenvault(&["--version"])?;

    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("tokenvault "));
    Ok(())
}
