//! The main job's stage: a real Keycloak realm as FOLIO has it, a real Redis, and the vault as real processes.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::client::{Answer, Client};
use crate::harness::policy::Module;
use crate::harness::realm::{LOGIN_APP, LabRealm};
use crate::harness::redis::Redis;
use crate::harness::tokens::{Tokens, claims};
use crate::harness::vault::Vault;
use crate::harness::{Failure, Result};

/// The module that registers, and one that only reads.
pub const REGISTRAR: &str = "mod-data-import";
/// See [`REGISTRAR`].
pub const READER: &str = "mod-inventory";

/// Everything a job needs; gone when dropped.
pub struct Stage {
    /// The vault, of as many replicas as were asked for.
    pub vault: Vault,
    /// The realm.
    pub realm: LabRealm,
    /// The store.
    pub redis: Redis,
    at_ttl: Duration,
}

impl Stage {
    /// A stage whose access tokens live so many seconds.
    pub async fn set(at_ttl: u64, replicas: usize) -> Result<Self> {
        Self::with(at_ttl, replicas, &[]).await
    }

    /// The same with some keys of the configuration of its own.
    pub async fn with(at_ttl: u64, replicas: usize, keys: &[(&str, toml::Value)]) -> Result<Self> {
        Self::on(Redis::options().append_only().start().await?, at_ttl, replicas, keys).await
    }

    /// The same on a given store.
    pub async fn on(redis: Redis, at_ttl: u64, replicas: usize, keys: &[(&str, toml::Value)]) -> Result<Self> {
        let realm = LabRealm::builder()
            .at_ttl(at_ttl)
            .setting("eventsEnabled", true)
            .setting("enabledEventTypes", json!(["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"]))
            .create()
            .await?;
        let mut vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .module(Module::new(REGISTRAR).register(&["exchange", "impersonate", "adopt"]))
            .module(Module::new(READER).register(&[]).actions(&["read"]))
            .set(&format!("tenants.{}.on_logout", realm.name()), "continue")
            .adopt_from(&realm, LOGIN_APP)?
            .set("renewal.retry_max", 1)
            .replicas(replicas);
        for (key, value) in keys {
            vault = vault.set(key, value.clone());
        }
        Ok(Self { vault: vault.start().await?, realm, redis, at_ttl: Duration::from_secs(at_ttl) })
    }

    /// An access token's life.
    pub fn at_ttl(&self) -> Duration {
        self.at_ttl
    }

    /// The registrar at a replica.
    pub fn registrar(&self, replica: usize) -> Result<Client> {
        self.vault.client_of(REGISTRAR, replica)
    }

    /// The reader at a replica.
    pub fn reader(&self, replica: usize) -> Result<Client> {
        self.vault.client_of(READER, replica)
    }

    /// Registers a job that the reader may read.
    pub async fn register(&self, job: &str, proof: &Tokens, more: Value) -> Result<Answer> {
        let mut body = json!({"access_token": proof.access_token, "readers": [READER]});
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        self.registrar(0)?.put(job, &body).await
    }

    /// The same, of a job that is to be taken.
    pub async fn registered(&self, job: &str, proof: &Tokens, more: Value) -> Result<()> {
        self.register(job, proof, more).await?.expect_status(201).map(drop)
    }

    /// What a module that saves records would be told by the platform: whether Keycloak holds the token to be active.
    pub async fn save_record(&self, access_token: &str) -> Result<u16> {
        let active = self.realm.is_active(access_token).await.map_err(|error| Failure::new(format!("{error:?}")))?;
        Ok(if active { 200 } else { 401 })
    }

    /// The user interface.
    pub async fn login(&self) -> Result<Tokens> {
        self.realm.login("alice").await.map_err(|error| Failure::new(format!("{error:?}")))
    }

    /// The user interface renews its own pair.
    pub async fn ui_refreshes(&self, pair: &Tokens) -> Result<Tokens> {
        self.realm.refresh(LOGIN_APP, pair.refresh()).await.map_err(|error| Failure::new(format!("{error:?}")))
    }

    /// The user logs out.
    pub async fn ui_logs_out(&self, pair: &Tokens) -> Result<()> {
        self.realm.logout(LOGIN_APP, pair.refresh()).await.map_err(|error| Failure::new(format!("{error:?}")))
    }

    /// The ids of the refresh tokens that were sent to the realm's token endpoint, refused ones included.
    pub async fn refresh_tokens_sent(&self, client: &str) -> Result<Vec<String>> {
        let path = format!("/{}/events?max=5000&type=REFRESH_TOKEN&type=REFRESH_TOKEN_ERROR", self.realm.name());
        let events = self.realm.admin().call(reqwest::Method::GET, &path, None).await?;
        let events = events.as_array().cloned().unwrap_or_default();
        let ours = events.iter().filter(|event| event["clientId"] == client);
        Ok(ours.filter_map(|event| event["details"]["refresh_token_id"].as_str().map(str::to_owned)).collect())
    }
}

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default()
}

/// Checks a read's answer: a token of that user which has not expired at the moment it arrives.
pub fn check_live(answer: &Answer, user_id: &str) -> Result<()> {
    let claims = claims(answer.access_token());
    let (expires, user) = (claims["exp"].as_f64().unwrap_or_default(), claims["user_id"].as_str());
    if answer.status == 200 && expires > now() && user == Some(user_id) {
        return Ok(());
    }
    Err(Failure::new(format!("not a live token of {user_id}: {answer:?}, exp {expires}, now {}", now())))
}

/// Repeats something every `pause` for `time`.
pub async fn repeat<F, Fut>(time: Duration, pause: Duration, mut act: F) -> Result<usize>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let end = Instant::now() + time;
    let mut times = 0;
    while Instant::now() < end {
        act().await?;
        times += 1;
        tokio::time::sleep(pause).await;
    }
    Ok(times)
}
