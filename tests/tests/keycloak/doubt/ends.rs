//! Doubt loses no end: a session that is really over ends its jobs, at once where Keycloak says so by itself, and soon where it
//! does not.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::courier::Courier;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::{Failure, Result};

use super::{MODULE, configured, register};

/// The jobs that end with the user's session.
const BOUND: [&str; 3] = ["exchanged", "child", "watched"];
/// A job is looked at after half of it.
const AT_TTL: u64 = 20;
const DOUBT: u64 = 6;
/// The first look, the doubt, and the round that ends it.
const SILENT: Duration = Duration::from_secs(AT_TTL * 6 / 10 + DOUBT + 5);

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Logout,
    DeletedSession,
    DeletedUser,
}

impl End {
    async fn bring_about(self, realm: &LabRealm, user: &str, proof: &Tokens) -> Result<()> {
        let admin = realm.admin();
        match self {
            Self::Logout => realm.logout(LOGIN_APP, proof.refresh()).await.map_err(|e| Failure::new(format!("{e:?}"))),
            Self::DeletedSession => admin.delete_session(realm.name(), &proof.sid()).await,
            Self::DeletedUser => {
                let id = admin.user_id(realm.name(), user).await?;
                admin.delete_user(realm.name(), &id).await
            }
        }
    }
}

async fn register_bound(module: &Client, user: &str, proof: &Tokens) -> Result<Vec<String>> {
    let more: [Value; 3] = [
        json!({}),
        json!({ "parent_job_id": format!("exchanged-{user}") }),
        json!({ "acquisition": "impersonate", "on_logout": "revoke" }),
    ];
    let mut jobs = Vec::new();
    for (job, more) in BOUND.iter().zip(more) {
        let job = format!("{job}-{user}");
        register(module, &job, proof, more).await?;
        jobs.push(job);
    }
    Ok(jobs)
}

/// Waits until a job is over, and makes sure that it stays so: no read is answered with a token after that.
async fn over(module: &Client, job: &str, within: Duration) -> Result<Duration> {
    let began = Instant::now();
    loop {
        let answer = module.get_with(job, "wait=0").await?;
        if answer.status == 410 {
            break;
        }
        if began.elapsed() > within {
            return Err(Failure::new(format!("{job} is not over after {within:?}: {}", answer.status)));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let took = began.elapsed();
    for _ in 0..3 {
        module.get_with(job, "wait=0").await?.expect_status(410)?;
    }
    Ok(took)
}

/// With the back channel one no is enough.
#[tokio::test(flavor = "multi_thread")]
async fn an_announced_end_is_told_at_once() -> Result<()> {
    let redis = Redis::start().await?;
    let realm = LabRealm::builder().at_ttl(600).create().await?;
    let courier = Courier::of(&realm, &[VAULT]).await?;
    let vault = configured(&realm, &redis, realm.base_url())?.doubt(75).idp()?.replicas(2).start().await?;
    courier.deliver_to(vault.idp_client(1)?);
    let module = vault.client(MODULE)?;
    for (user, end) in [("alice", End::Logout), ("bob", End::DeletedSession)] {
        let proof = realm.login(user).await?;
        let jobs = register_bound(&module, user, &proof).await?;
        end.bring_about(&realm, user, &proof).await?;
        for job in jobs {
            // Keycloak's answer to the logout comes after its call to the vault. A busy machine is given more than a second.
            let took = over(&module, &job, Duration::from_secs(5)).await?;
            println!("{end:?}, {job}: over after {took:?}");
        }
    }
    Ok(())
}

/// Without it, every answer is no for the doubt.
#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_nobody_announced_is_told_after_the_doubt() -> Result<()> {
    let redis = Redis::start().await?;
    let realm = LabRealm::builder().at_ttl(AT_TTL).user("carol").create().await?;
    let vault = configured(&realm, &redis, realm.base_url())?.doubt(DOUBT).replicas(2).start().await?;
    let module = vault.client(MODULE)?;
    let ends = [("alice", End::Logout), ("bob", End::DeletedSession), ("carol", End::DeletedUser)];
    let mut all = Vec::new();
    for (user, end) in ends {
        let proof = realm.login(user).await?;
        let jobs = register_bound(&module, user, &proof).await?;
        end.bring_about(&realm, user, &proof).await?;
        all.extend(jobs.into_iter().map(|job| (job, end)));
    }
    let checks = all.iter().map(|(job, end)| {
        let module = &module;
        async move {
            let took = over(module, job, SILENT).await?;
            println!("{end:?}, {job}: over after {took:?}");
            Ok::<_, Failure>(())
        }
    });
    futures::future::try_join_all(checks).await.map(drop)
}
