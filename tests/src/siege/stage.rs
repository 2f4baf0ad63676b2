//! The vault under siege: a real process over a real Redis; its identity provider is the embedded stand-in, for a read asks
//! none.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use keycloak_double::{Double, DoubleConfig, Endpoint, Fault, Features, Moment, RealmConfig};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::member::{Login, Orders};
use crate::harness::certs::Certificate;
use crate::harness::client::Client;
use crate::harness::policy::{self, Module};
use crate::harness::redis::Redis;
use crate::harness::vault::Vault;
use crate::harness::{Failure, Result, stand_in};

const REALM: &str = "diku";
/// The job that is read.
pub const JOB: &str = "besieged";
/// How many jobs the good caller has where a member of the house besieges.
pub const JOBS: usize = 10;
/// How long access tokens live there, in seconds. They are renewed when half of it is over, and read with [`MIN_TTL`] left.
pub const TOKEN_LIFE: u64 = 30;
/// What the good caller wants to be left of them, in seconds.
pub const MIN_TTL: u64 = 5;
const MEMBER: &str = "mod-member";

/// The vault, and what it stands on; gone when dropped.
pub struct Stage {
    /// The vault.
    pub vault: Vault,
    /// Modules with certificates that besiege all the same.
    pub rogues: Vec<Certificate>,
    /// What the good caller reads.
    pub jobs: Vec<String>,
    /// Its store.
    pub redis: Redis,
    keycloak: Double,
    _keycloak_runs: DropGuard,
    secret: tempfile::TempDir,
}

impl Stage {
    /// A vault with a registered job.
    pub async fn set() -> Result<Self> {
        Self::with(&[]).await
    }

    /// The same with some keys of the configuration of its own.
    pub async fn with(keys: &[(&str, toml::Value)]) -> Result<Self> {
        Self::made_of(keys, None, RealmConfig::lab(REALM), 1).await
    }

    /// The same with a program in the vault's place.
    pub async fn as_program(program: PathBuf) -> Result<Self> {
        Self::made_of(&[], Some(program), RealmConfig::lab(REALM), 1).await
    }

    /// A vault whose good caller has several jobs with short tokens, for a siege by one of its own modules.
    pub async fn for_member() -> Result<Self> {
        let realm = RealmConfig::lab(REALM).with_settings(|settings| settings.access_token_lifespan = TOKEN_LIFE);
        Self::made_of(&[("server.default_min_ttl", 5.into())], None, realm, JOBS).await
    }

    async fn made_of(
        keys: &[(&str, toml::Value)],
        program: Option<PathBuf>,
        realm: RealmConfig,
        jobs: usize,
    ) -> Result<Self> {
        crate::harness::install_tls_provider();
        let (keycloak, keycloak_runs) = start_keycloak(realm).await?;
        let (redis, secret) = (Redis::start().await?, tempfile::tempdir()?);
        let secret_file = secret.path().join("client-secret");
        fs::write(&secret_file, stand_in::SECRET)?;
        let issuer = format!("{}/realms/{REALM}", keycloak.base_url());
        let rogue = |number: usize| Module::new(&format!("mod-rogue-{number}"));
        let mut vault = stand_in::tenant(Vault::builder()?.redis(&redis), REALM, &issuer, &secret_file)
            .set("telemetry.log_level", "warn")
            .module(Module::new("mod-good"))
            .module(member())
            .module(rogue(0))
            .module(rogue(1));
        for (key, value) in keys {
            vault = vault.set(key, value.clone());
        }
        if let Some(program) = program {
            vault = vault.binary(program);
        }
        let vault = vault.start().await?;
        let issue = |number| vault.ca().issue(&policy::subject(&rogue(number)));
        let rogues = vec![issue(0)?, issue(1)?];
        let jobs = (0..jobs).map(|number| if number == 0 { JOB.to_owned() } else { format!("{JOB}-{number}") });
        let jobs = jobs.collect();
        let stage = Self { vault, rogues, jobs, redis, keycloak, _keycloak_runs: keycloak_runs, secret };
        stage.register().await?;
        Ok(stage)
    }

    /// Registers the good caller's jobs, and keeps the user's session for a member that besieges.
    async fn register(&self) -> Result<()> {
        let token_url = stand_in::token_url(self.keycloak.base_url(), REALM);
        let (client_id, client_secret) = (stand_in::LOGIN_CLIENT.to_owned(), stand_in::LOGIN_SECRET.to_owned());
        let login = stand_in::log_in(self.keycloak.base_url(), REALM).await?;
        let good = self.good()?;
        for job in &self.jobs {
            good.put(job, &json!({ "access_token": login["access_token"] })).await?.expect_status(201)?;
        }
        let refresh_token = login["refresh_token"].as_str().unwrap_or_default().to_owned();
        let login = Login { token_url, client_id, client_secret, refresh_token };
        fs::write(self.login_file(), serde_json::to_vec(&login)?)?;
        Ok(())
    }

    fn login_file(&self) -> PathBuf {
        self.secret.path().join("login.json")
    }

    /// What a member of the house is to do, with so many jobs, and requests and connections at a time.
    pub fn member(&self, own: usize, requests: usize, connections: usize, time: Duration) -> Result<Orders> {
        let certificate = self.vault.ca().issue(&policy::subject(&member()))?;
        Ok(Orders {
            address: self.address()?,
            root: self.vault.ca().cert_file(),
            certificate: (certificate.cert, certificate.key),
            login: self.login_file(),
            victim: JOB.to_owned(),
            own,
            requests,
            connections,
            token_life: TOKEN_LIFE,
            time,
        })
    }

    /// How many refresh tokens the vault has spent.
    pub async fn spends(&mut self) -> Result<f64> {
        self.vault.replica().metric("tokenvault_renewals_total", "step=\"spend\"").await
    }

    /// How often the vault has found that its store had gone back.
    pub async fn rollbacks(&mut self) -> Result<f64> {
        self.vault.replica().metric("tokenvault_store_rollbacks_total", "").await
    }

    /// How many keys the store holds, and how much memory it takes, MiB.
    pub async fn stored(&self) -> Result<(u64, f64)> {
        let mut connection = self.redis.connection().await?;
        let keys = redis::cmd("DBSIZE").query_async(&mut connection).await?;
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse::<f64>().ok());
        Ok((keys, used.unwrap_or_default() / 1024.0 / 1024.0))
    }

    /// A good caller with no connection yet.
    pub fn good(&self) -> Result<Client> {
        self.vault.client("mod-good")
    }

    /// A certificate of the good caller's.
    pub fn good_certificate(&self) -> Result<Certificate> {
        self.vault.ca().issue(&policy::subject(&Module::new("mod-good")))
    }

    /// From now on the identity provider fails whenever a token is asked of it.
    pub fn lose_keycloak(&self) {
        self.keycloak.faults().every(Endpoint::Introspect, Fault::Status(Moment::Before, 500));
    }

    /// Where the vault listens.
    pub fn address(&self) -> Result<SocketAddr> {
        let url = self.good()?.base_url().trim_start_matches("https://").to_owned();
        url.parse().map_err(|_| Failure::new("the vault's address cannot be read"))
    }

    /// The vault's process.
    pub fn pid(&self) -> Result<u32> {
        self.vault.process_ids().first().copied().ok_or_else(|| Failure::new("the vault has no process"))
    }

    /// The vault's resident memory.
    pub fn rss_mib(&self) -> Result<f64> {
        rss_mib(self.pid()?)
    }

    /// Looks at it until told to stop; the most it was.
    pub fn watch_rss(&self) -> (JoinHandle<Result<f64>>, CancellationToken) {
        let (stop, pid) = (CancellationToken::new(), self.pid());
        let until = stop.clone();
        let watch = tokio::spawn(async move {
            let pid = pid?;
            let mut most = 0.0_f64;
            while !until.is_cancelled() {
                most = most.max(rss_mib(pid)?);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Ok(most)
        });
        (watch, stop)
    }

    /// Whom the vault turned away, by reason.
    pub async fn turned_away(&mut self) -> Result<BTreeMap<String, f64>> {
        let text = self.vault.replica().metrics().await?;
        let series = text.lines().filter_map(|line| line.strip_prefix("tokenvault_rejections_total{reason=\""));
        Ok(series.filter_map(|rest| rest.split_once("\"} ")).filter_map(counted).collect())
    }
}

/// It may ask for an impersonation; that Keycloak refuses it is heard of late.
fn member() -> Module {
    Module::new(MEMBER).register(&["exchange", "impersonate"])
}

/// The stand-in has a thread of its own that gives way to others: the real one has machines of its own, and what it takes of
/// this one's processors is not the vault's doing.
async fn start_keycloak(realm: RealmConfig) -> Result<(Double, DropGuard)> {
    let config = DoubleConfig::new().realm(realm).features(Features { token_exchange_v1: false });
    let (stop, (tell, started)) = (CancellationToken::new(), oneshot::channel());
    let until = stop.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("keycloak".to_owned()).spawn(move || {
        let _ = rustix::process::nice(10);
        runtime.block_on(async {
            drop(tell.send(Double::start(config).await));
            until.cancelled().await;
        });
    })?;
    let keycloak = started.await.map_err(|_| Failure::new("the stand-in's thread has ended"))?;
    Ok((keycloak.map_err(|error| Failure::new(format!("the stand-in: {error}")))?, stop.drop_guard()))
}

fn counted((reason, count): (&str, &str)) -> Option<(String, f64)> {
    Some((reason.to_owned(), count.parse().ok()?))
}

fn rss_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| Failure::new("the vault's memory cannot be read"))
}
