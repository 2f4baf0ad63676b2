//! Realms whose refresh tokens may be sent more than once (`refreshTokenMaxReuse` = N), which the spike considered and
//! feared: N modules and an unauthorised party that uses the token as well. Real Keycloak, three real vaults, adopted pairs.
//!
//! Keycloak allows N + 1 sends of a token, and of the tokens they bring only the one issued last may be used; an older one
//! detaches the client session. So the retries help whoever lost an answer, and nobody else: they make no second holder safe.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Answer;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{poll, wait_until};
use tokenvault_tests::harness::proxy::{Fault, Proxy};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, TokenError, Tokens};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::stage::{check_live, repeat};

const REGISTRAR: &str = "mod-data-import";
const READERS: [&str; 3] = ["mod-inventory", "mod-source-record-manager", "mod-orders"];
const REPLICAS: usize = 3;
const AT_TTL: u64 = 12;
const PATIENCE: Duration = Duration::from_mins(1);
const REFRESH: &str = "grant_type=refresh_token";

struct Lab {
    vault: Vault,
    realm: LabRealm,
    proxy: Proxy,
    _redis: Redis,
}

impl Lab {
    /// The client whose pairs are deposited may not exchange its own tokens for refresh tokens; else nothing would be spent.
    async fn set(max_reuse: u32) -> Result<Self> {
        let lab = Self::exchanging(max_reuse).await?;
        // The standard exchange, without refresh tokens. Where it is off, the legacy one would take over and grant them.
        let (name, attribute) = (lab.realm.name(), "standard.token.exchange.enabled");
        lab.realm.admin().set_client_attribute(name, LOGIN_APP, attribute, "true").await?;
        Ok(lab)
    }

    async fn exchanging(max_reuse: u32) -> Result<Self> {
        let redis = Redis::options().append_only().start().await?;
        let events = json!(["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"]);
        let realm = LabRealm::builder()
            .at_ttl(AT_TTL)
            .max_reuse(max_reuse.into())
            .setting("eventsEnabled", true)
            .setting("enabledEventTypes", events)
            .create()
            .await?;
        let proxy = Proxy::to(keycloak().await?.address()).await?;
        let tenant = format!("tenants.{}", realm.name());
        let mut vault = Vault::builder()?
            .redis(&redis)
            .tenant_at(&realm, &proxy.url("http"))?
            .module(Module::new(REGISTRAR).register(&["adopt"]))
            .set(&format!("{tenant}.refresh_token_max_reuse"), i64::from(max_reuse))
            .adopt_from(&realm, LOGIN_APP)?
            .set(&format!("{tenant}.request_timeout"), 4)
            .set("renewal.quarantine", 7)
            .set("renewal.lease", 8)
            .set("telemetry.log_level", "info,tokenvault_server::web=warn,tokenvault_vault::reconciler=debug")
            .set("renewal.retry_max", 1)
            .replicas(REPLICAS);
        for reader in READERS {
            vault = vault.module(Module::new(reader).register(&[]).actions(&["read"]));
        }
        Ok(Self { vault: vault.start().await?, realm, proxy, _redis: redis })
    }

    /// Registers a job with a pair that somebody else may hold a copy of.
    async fn adopt(&self, job: &str) -> Result<Tokens> {
        let deposited = self.realm.login("alice").await?;
        let body = json!({
            "access_token": deposited.access_token,
            "acquisition": "adopt",
            "refresh_token": deposited.refresh(),
            "readers": READERS,
        });
        self.vault.client(REGISTRAR)?.put(job, &body).await?.expect_status(201)?;
        Ok(deposited)
    }

    async fn generation(&self, job: &str, replica: usize) -> Result<u64> {
        let answer = self.vault.client_of(REGISTRAR, replica)?.get_with(job, "wait=0").await?;
        Ok(answer.body["generation"].as_u64().unwrap_or_default())
    }

    async fn until_generation(&self, least: u64, job: &str, replica: usize) -> Result<()> {
        wait_until("the renewal", PATIENCE, || async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.generation(job, replica).await.is_ok_and(|generation| generation >= least)
        })
        .await
    }

    /// Somebody else sends a refresh token of the pair that was deposited.
    async fn steal(&self, refresh_token: &str) -> Result<Tokens, TokenError> {
        self.realm.refresh(LOGIN_APP, refresh_token).await
    }

    async fn end_of(&self, job: &str, replica: usize) -> Result<Answer> {
        let client = self.vault.client_of(REGISTRAR, replica)?;
        poll("the end of the job", PATIENCE, || async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            client.get_with(job, "wait=0").await.ok().filter(|answer| answer.status == 410)
        })
        .await
    }

    /// How often each refresh token was sent, as Keycloak counted, by whomever.
    async fn sends(&self) -> Result<BTreeMap<String, usize>> {
        let path = format!("/{}/events?max=5000&type=REFRESH_TOKEN&type=REFRESH_TOKEN_ERROR", self.realm.name());
        let events = self.realm.admin().call(reqwest::Method::GET, &path, None).await?;
        let mut sends = BTreeMap::new();
        for event in events.as_array().into_iter().flatten() {
            if let Some(id) = event["details"]["refresh_token_id"].as_str() {
                *sends.entry(id.to_owned()).or_default() += 1;
            }
        }
        Ok(sends)
    }

    async fn most_sends(&self) -> Result<usize> {
        Ok(self.sends().await?.into_values().max().unwrap_or_default())
    }
}

fn told(answer: &Answer) -> (&str, &str) {
    (answer.code(), answer.body["reason"].as_str().unwrap_or_default())
}

/// What the reuse was wanted for: several modules, one token. Through the vault they share the access token, and every
/// refresh token is sent once, by one replica, however many read.
#[tokio::test(flavor = "multi_thread")]
async fn modules_that_share_a_job_need_no_reuse() -> Result<()> {
    let lab = Lab::set(2).await?;
    let user = lab.realm.user("alice")?.user_id.clone();
    lab.adopt("import").await?;
    let mut readers = Vec::new();
    for (number, reader) in READERS.into_iter().enumerate() {
        readers.push(lab.vault.client_of(reader, number % REPLICAS)?);
    }
    repeat(Duration::from_secs(AT_TTL * 3), Duration::from_millis(200), || async {
        for reader in &readers {
            check_live(&reader.get_with("import", "wait=10").await?, &user)?;
        }
        Ok(())
    })
    .await?;
    let sends = lab.sends().await?;
    assert!(sends.len() >= 3, "{sends:?}");
    assert_eq!(lab.most_sends().await?, 1, "{sends:?}");
    Ok(())
}

/// The count of sends is in the store: replicas that never saw the first attempts go on counting.
#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_use_the_retries_there_are() -> Result<()> {
    try_join_all([1, 2].map(|max_reuse| async move {
        let mut lab = Lab::set(max_reuse).await?;
        let retries = usize::try_from(max_reuse)?;
        lab.adopt("import").await?;
        lab.until_generation(2, "import", 0).await?;

        lab.proxy.strike(Fault::CutAnswerAfter(0), retries, REFRESH);
        struck(&lab, 1).await?;
        for replica in &mut lab.vault.replicas()[1..] {
            replica.kill();
        }
        lab.until_generation(3, "import", 0).await?;

        assert_eq!(lab.proxy.struck(), retries);
        let answer = lab.vault.client_of(READERS[0], 0)?.get_with("import", "wait=10").await?;
        check_live(&answer, &lab.realm.user("alice")?.user_id)?;
        assert_eq!(lab.most_sends().await?, retries + 1, "all of its retries, and then it was answered");
        Ok(())
    }))
    .await
    .map(drop)
}

/// Of a token that was deposited, one send is counted as the depositor's, who may have made it.
#[tokio::test(flavor = "multi_thread")]
async fn the_vault_sends_no_token_more_often_than_the_realm_allows() -> Result<()> {
    try_join_all([(1, 1, 1), (2, 1, 2), (1, 2, 2)].map(|(max_reuse, generation, allowed)| async move {
        let mut lab = Lab::set(max_reuse).await?;
        lab.adopt("import").await?;
        lab.until_generation(generation, "import", 1).await?;

        lab.proxy.strike(Fault::CutAnswerAfter(0), allowed + 5, REFRESH);
        struck(&lab, 1).await?;
        lab.vault.replica().kill();
        let end = lab.end_of("import", 1).await?;

        assert_eq!(told(&end), ("reauth_required", "spend_lost"));
        assert_eq!((lab.proxy.struck(), lab.most_sends().await?), (allowed, allowed), "generation {generation}");
        Ok(())
    }))
    .await
    .map(drop)
}

/// A thief who uses no more than the reuses leaves the vault its own send, whose token is the newest and so the good one.
/// What the thief got is older: using it detaches the client session, and the job ends as what happened to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_thief_who_leaves_one_send_holds_the_older_token() -> Result<()> {
    try_join_all([1, 2].map(|max_reuse| async move {
        let lab = Lab::set(max_reuse).await?;
        let deposited = lab.adopt("import").await?;
        let mut loot = Vec::new();
        for _ in 0..max_reuse {
            loot.push(lab.steal(deposited.refresh()).await?);
        }
        lab.until_generation(2, "import", 2).await?;
        let answer = lab.vault.client_of(READERS[1], 1)?.get_with("import", "wait=10").await?;
        check_live(&answer, &lab.realm.user("alice")?.user_id)?;

        let refused = lab.steal(loot[0].refresh()).await;
        assert!(
            matches!(&refused, Err(TokenError::Refused { description, .. }) if description == "Stale token"),
            "{refused:?}"
        );
        assert_eq!(told(&lab.end_of("import", 0).await?), ("session_ended", "client_session_gone"));
        assert_eq!(lab.most_sends().await?, usize::try_from(max_reuse)? + 1);
        Ok(())
    }))
    .await
    .map(drop)
}

/// A holder who uses all sends there are leaves the vault none. The vault sends none, and so does not destroy what that
/// holder has: it may well be the user's own browser.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_who_uses_every_send_keeps_what_it_got() -> Result<()> {
    for (max_reuse, lab) in [(0, Lab::exchanging(0).await?), (1, Lab::set(1).await?)] {
        let deposited = lab.adopt("import").await?;
        let mut newest = lab.steal(deposited.refresh()).await?;
        for _ in 0..max_reuse {
            newest = lab.steal(deposited.refresh()).await?;
        }
        assert_eq!(told(&lab.end_of("import", 0).await?), ("session_ended", "session_lost"));
        assert_eq!(lab.most_sends().await?, usize::try_from(max_reuse)? + 1, "the vault sent nothing");
        lab.steal(newest.refresh()).await?;
    }
    Ok(())
}

async fn struck(lab: &Lab, times: usize) -> Result<()> {
    wait_until("the lost answer", PATIENCE, || async { lab.proxy.struck() >= times }).await
}
