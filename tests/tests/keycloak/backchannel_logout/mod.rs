//! Back-channel logout on real parts: Keycloak tells, and the jobs of the session end although their access tokens live.

mod hostile;

use std::time::Duration;

use serde_json::{Value, json};
use tokenvault_tests::harness::certs::TestCa;
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::courier::{Courier, call_at};
use tokenvault_tests::harness::keycloak::Keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result};

const MODULE: &str = "mod-data-import";
/// An access token lives ten minutes and is renewed after five: what ends soon, ended because of the hint.
const AT_TTL: u64 = 600;

/// A realm, a store and two replicas with a listener for the identity provider.
struct Stage {
    realm: LabRealm,
    redis: Redis,
    vault: Vault,
    courier: Courier,
}

fn configured(realm: &LabRealm, redis: &Redis) -> Result<VaultBuilder> {
    Vault::builder()?
        .redis(redis)
        .tenant(realm)?
        .module(Module::new(MODULE).register(&["exchange", "impersonate", "adopt"]))
        .set(&format!("tenants.{}.on_logout", realm.name()), "continue")
        .adopt_from(realm, LOGIN_APP)
}

impl Stage {
    async fn set() -> Result<Self> {
        let redis = Redis::options().append_only().start().await?;
        let realm = LabRealm::builder().at_ttl(AT_TTL).create().await?;
        let courier = Courier::of(&realm, &[VAULT, LOGIN_APP]).await?;
        let vault = configured(&realm, &redis)?.idp()?.replicas(2).start().await?;
        Ok(Self { realm, redis, vault, courier })
    }

    /// The same, with Keycloak's calls handed on to the second replica.
    async fn delivering() -> Result<Self> {
        let stage = Self::set().await?;
        stage.courier.deliver_to(stage.vault.idp_client(1)?);
        Ok(stage)
    }

    fn module(&self) -> Result<Client> {
        self.vault.client(MODULE)
    }

    async fn login(&self) -> Result<Tokens> {
        Ok(self.realm.login("alice").await?)
    }

    async fn register(&self, job: &str, proof: &Tokens, more: Value) -> Result<()> {
        register(&self.module()?, job, proof, more).await
    }
}

async fn register(module: &Client, job: &str, proof: &Tokens, more: Value) -> Result<()> {
    let mut body = json!({ "access_token": proof.access_token });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    module.put(job, &body).await?.expect_status(201).map(drop)
}

/// Waits until a job is over.
async fn ends(module: &Client, job: &str) -> Result<Answer> {
    poll(&format!("the end of {job}"), SOON, || async {
        module.get_with(job, "wait=0").await.ok().filter(|answer| answer.status == 410)
    })
    .await
}

/// Keycloak detaches the clients of a session before it removes the session, and calls in between: whoever asks at once may
/// be told either.
fn is_over(answer: &Answer) {
    let reason = answer.body["reason"].as_str();
    assert!(matches!(reason, Some("session_not_active" | "client_session_gone")), "{answer:?}");
    assert_eq!(answer.code(), "session_ended", "{answer:?}");
}

/// When a job is looked at next, as the store has it.
async fn due(stage: &Stage, job: &str) -> Result<String> {
    let mut store = stage.redis.connection().await?;
    let pattern = format!("tv:*:job:{}:{job}", stage.realm.name());
    let keys: Vec<String> = redis::cmd("KEYS").arg(pattern).query_async(&mut store).await?;
    let key = keys.first().ok_or_else(|| Failure::new(format!("no record of {job}")))?;
    Ok(redis::cmd("HGET").arg(key).arg("due").query_async(&mut store).await?)
}

/// When these jobs are looked at next. The first read of a token brings that forward, so each is read before.
async fn dues(stage: &Stage, jobs: &[&str]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for job in jobs {
        stage.module()?.get_with(job, "wait=0").await?.expect_status(200)?;
        all.push(due(stage, job).await?);
    }
    Ok(all)
}

/// Checks that jobs are served, and that nobody looked at them.
async fn are_untouched(stage: &Stage, jobs: &[&str], before: &[String]) -> Result<()> {
    for job in jobs {
        stage.module()?.get_with(job, "wait=0").await?.expect_status(200)?;
    }
    assert_eq!(dues(stage, jobs).await?, before, "{jobs:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_logout_ends_the_jobs_of_that_session_and_touches_no_others() -> Result<()> {
    let mut stage = Stage::delivering().await?;
    let (leaving, staying) = (stage.login().await?, stage.login().await?);
    let module = stage.module()?;
    stage.register("exchanged", &leaving, json!({})).await?;
    stage.register("child", &leaving, json!({ "parent_job_id": "exchanged" })).await?;
    stage.register("impersonated", &leaving, json!({ "acquisition": "impersonate", "on_logout": "revoke" })).await?;
    stage.register("outliving", &leaving, json!({ "acquisition": "impersonate", "on_logout": "continue" })).await?;
    stage.register("other-session", &staying, json!({})).await?;
    for job in ["exchanged", "child", "impersonated", "outliving", "other-session"] {
        let answer = module.get_with(job, "wait=0").await?.expect_status(200)?;
        assert!(answer.body["expires_in"].as_u64() > Some(AT_TTL - 60), "{answer:?}");
    }
    let others = ["outliving", "other-session"];
    let before = dues(&stage, &others).await?;

    stage.realm.logout(LOGIN_APP, leaving.refresh()).await?;

    for job in ["exchanged", "child", "impersonated"] {
        is_over(&ends(&module, job).await?);
    }
    // Longer than until the first further look.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    are_untouched(&stage, &others, &before).await?;
    assert!(stage.courier.delivered().iter().all(|delivery| delivery.answer == Some(200)));
    let replica = &mut stage.vault.replicas()[1];
    assert!(replica.metric("tokenvault_backchannel_logouts_total", "accepted").await? >= 1.0);
    let log = replica.process().log();
    assert!(log.contains("a logout was announced") && !log.contains(&stage.courier.last()?.token()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_ends_a_session_ends_its_jobs() -> Result<()> {
    let stage = Stage::delivering().await?;
    let (ended, adopted, staying) = (stage.login().await?, stage.login().await?, stage.login().await?);
    let module = stage.module()?;
    stage.register("exchanged", &ended, json!({})).await?;
    stage.register("adopted", &adopted, json!({ "acquisition": "adopt", "refresh_token": adopted.refresh() })).await?;
    stage.register("other-session", &staying, json!({})).await?;
    let admin = stage.realm.admin();
    let before = dues(&stage, &["other-session"]).await?;

    admin.delete_session(stage.realm.name(), &ended.sid()).await?;
    ends(&module, "exchanged").await?;
    // The session of this one knows the login app alone, and tells it. A token that was deposited may have been renewed
    // elsewhere, so its end is doubted for some seconds.
    admin.delete_session(stage.realm.name(), &adopted.sid()).await?;
    ends(&module, "adopted").await?;

    are_untouched(&stage, &["other-session"], &before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_who_logs_a_user_out_ends_all_of_that_users_jobs_and_nobody_elses() -> Result<()> {
    let stage = Stage::delivering().await?;
    let (alice, bob) = (stage.login().await?, stage.realm.login("bob").await?);
    let module = stage.module()?;
    stage.register("exchanged", &alice, json!({})).await?;
    // Its own session is one of the user's, too, and an act of an administrator's is not undone.
    stage.register("outliving", &alice, json!({ "acquisition": "impersonate", "on_logout": "continue" })).await?;
    stage.register("of-bob", &bob, json!({})).await?;
    let before = dues(&stage, &["of-bob"]).await?;

    stage.realm.admin().logout_user(stage.realm.name(), &stage.realm.user("alice")?.sub).await?;

    for job in ["exchanged", "outliving"] {
        ends(&module, job).await?;
    }
    are_untouched(&stage, &["of-bob"], &before).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_keycloak_ends_only_later_is_looked_at_again() -> Result<()> {
    let mut stage = Stage::delivering().await?;
    let ui = stage.login().await?;
    let module = stage.module()?;
    stage.register("exchanged", &ui, json!({})).await?;
    // Another client of the session keeps Keycloak waiting: the first look finds that the session lives.
    stage.courier.hold(Duration::from_secs(2));

    let logout = tokio::spawn({
        let (realm, refresh) = (stage.realm.through(stage.realm.base_url()), ui.refresh().to_owned());
        async move { realm.logout(LOGIN_APP, &refresh).await }
    });
    let (mut found_alive, mut exchanged) = (0.0, 0.0);
    while !logout.is_finished() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        (found_alive, exchanged) = (0.0, 0.0);
        for replica in stage.vault.replicas() {
            found_alive += replica.metric("tokenvault_renewals_total", r#"step="probe",outcome="active""#).await?;
            exchanged += replica.metric("tokenvault_renewals_total", r#"step="exchange""#).await?;
        }
    }
    logout.await??;
    assert!(found_alive >= 1.0, "the first look came after the session's end: nothing was tried");
    assert!(exchanged < 0.5, "an exchange in the middle of a logout can bring the session back to life");

    ends(&module, "exchanged").await.map(drop)
}

/// How many logouts the vault has accepted.
async fn accepted(vault: &mut Vault) -> Result<f64> {
    vault.replica().metric("tokenvault_backchannel_logouts_total", "accepted").await
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_itself_calls_the_vault_over_tls() -> Result<()> {
    let authority = TestCa::new()?;
    let keycloak = Keycloak::start_own_trusting(&authority.cert_file()).await?;
    let redis = Redis::options().append_only().start().await?;
    let realm = LabRealm::builder().at_ttl(AT_TTL).create_in(&keycloak).await?;
    let server = authority.server()?;
    let mut vault = configured(&realm, &redis)?
        .set("idp.cert_file", server.cert.display().to_string())
        .set("idp.key_file", server.key.display().to_string())
        .start()
        .await?;
    let url = format!("{}/backchannel-logout/{}", vault.replica().idp_url(), realm.name());
    call_at(&realm, VAULT, &url).await?;
    // The first call by TLS takes a new Keycloak its time, and it gives none more than five seconds.
    let mut before = 0.0;
    for _ in 0..12 {
        let first = realm.login("bob").await?;
        realm.exchange(&first.access_token).await?;
        realm.logout(LOGIN_APP, first.refresh()).await?;
        before = accepted(&mut vault).await?;
        if before > 0.5 {
            break;
        }
    }
    let (ui, module) = (realm.login("alice").await?, vault.client(MODULE)?);
    register(&module, "exchanged", &ui, json!({})).await?;

    realm.logout(LOGIN_APP, ui.refresh()).await?;

    is_over(&ends(&module, "exchanged").await?);
    assert!(accepted(&mut vault).await? > before);
    Ok(())
}
