//! Keycloak errs about sessions that live.

use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;

use super::liar::Liar;
use super::{MODULE, all_renew, configured, register, register_all};

/// For some seconds every answer is no. The jobs that were due then are served from what lives, nothing is exchanged or
/// spent, and all go on when Keycloak is well again.
#[tokio::test(flavor = "multi_thread")]
async fn a_keycloak_that_errs_for_a_while_costs_no_job() -> Result<()> {
    let redis = Redis::start().await?;
    let realm = LabRealm::builder().at_ttl(20).create().await?;
    let liar = Liar::before(realm.base_url()).await?;
    let mut vault = configured(&realm, &redis, &liar.url())?.replicas(2).doubt(30).start().await?;
    let module = vault.client(MODULE)?;
    let proof = realm.login("alice").await?;
    let jobs = register_all(&module, &proof).await?;
    let deposited = realm.login("alice").await?;
    let adopt = json!({ "acquisition": "adopt", "refresh_token": deposited.refresh() });
    register(&module, "adopted", &deposited, adopt).await?;

    liar.lie(true);
    poll("every job to be looked at", SOON, || async { (liar.told() >= 8).then_some(()) }).await?;
    for job in jobs {
        module.get_with(job, "wait=0&min_ttl=1").await?.expect_status(200)?;
    }
    assert_eq!(liar.sent(), 0, "while it is in doubt nothing is exchanged or spent");
    liar.lie(false);

    all_renew(&realm, &module, &jobs, Duration::from_secs(30)).await?;
    module.get_with("adopted", "wait=20").await?.expect_status(200)?;
    let mut lifted = 0;
    for replica in vault.replicas() {
        let metrics = replica.metrics().await?;
        lifted += metrics
            .lines()
            .filter(|line| line.starts_with(r#"tokenvault_doubts_total{outcome="lifted"} "#) && !line.ends_with(" 0"))
            .count();
    }
    assert!(lifted > 0, "operators are told");
    Ok(())
}
