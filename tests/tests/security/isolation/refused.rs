//! Nothing of a refused registration stays in the store.

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::keyspace::Keyspace;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm};

use crate::isolation::stage::{Stage, body};

#[tokio::test]
async fn refused_registrations_leave_nothing_behind() -> Result<()> {
    let stage = Stage::set(LabRealm::builder().without_impersonation()).await?;
    let proof = stage.login().await?;
    stage.good.put("good-job", &body(&proof, "exchange")).await?.expect_status(201)?;
    for n in 0..30 {
        stage.bad.put(&format!("refused-{n}"), &body(&proof, "impersonate")).await?.expect_status(502)?;
        let child = serde_json::json!({"parent_job_id": "good-job"});
        stage.bad.put(&format!("refused-{n}"), &child).await?.expect_status(404)?;
    }
    stage.good.put("parent", &body(&proof, "exchange")).await?.expect_status(201)?;
    stage.realm.logout(LOGIN_APP, proof.refresh()).await.expect("a logout");
    for n in 30..40 {
        stage.bad.put(&format!("refused-{n}"), &body(&proof, "exchange")).await?.expect_status(422)?;
    }
    let left = Keyspace::read(&stage.redis).await?.mentions("refused-");
    assert!(left.is_empty(), "{left:?}");
    Ok(())
}
