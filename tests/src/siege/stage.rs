//! The vault under siege: a real process over a real Redis; its identity provider is the embedded stand-in, for a read asks
//! none.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use keycloak_double::{Double, DoubleConfig, Endpoint, Fault, Moment, RealmConfig};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::certs::Certificate;
use crate::harness::client::Client;
use crate::harness::policy::{self, Module};
use crate::harness::redis::Redis;
use crate::harness::vault::Vault;
use crate::harness::{Failure, Result};

const REALM: &str = "diku";
/// The job that is read.
pub const JOB: &str = "besieged";

/// The vault, and what it stands on; gone when dropped.
pub struct Stage {
    /// The vault.
    pub vault: Vault,
    /// Modules with certificates that besiege all the same.
    pub rogues: Vec<Certificate>,
    keycloak: Double,
    _redis: Redis,
    _secret: tempfile::TempDir,
}

impl Stage {
    /// A vault with a registered job.
    pub async fn set() -> Result<Self> {
        Self::with(&[]).await
    }

    /// The same with some keys of the configuration of its own.
    pub async fn with(keys: &[(&str, toml::Value)]) -> Result<Self> {
        Self::made_of(keys, None).await
    }

    /// The same with a program in the vault's place.
    pub async fn as_program(program: PathBuf) -> Result<Self> {
        Self::made_of(&[], Some(program)).await
    }

    async fn made_of(keys: &[(&str, toml::Value)], program: Option<PathBuf>) -> Result<Self> {
        crate::harness::install_tls_provider();
        let keycloak = Double::start(DoubleConfig::new().realm(RealmConfig::lab(REALM))).await;
        let keycloak = keycloak.map_err(|error| Failure::new(format!("the stand-in: {error}")))?;
        let (redis, secret) = (Redis::start().await?, tempfile::tempdir()?);
        let secret_file = secret.path().join("client-secret");
        fs::write(&secret_file, "tokenvault-secret")?;
        let key = |name: &str| format!("tenants.{REALM}.{name}");
        let rogue = |number: usize| Module::new(&format!("mod-rogue-{number}"));
        let mut vault = Vault::builder()?
            .redis(&redis)
            .set(&key("issuer"), format!("{}/realms/{REALM}", keycloak.base_url()))
            .set(&key("client_id"), "tokenvault")
            .set(&key("client_secret_file"), secret_file.display().to_string())
            .set(&key("user_id_claim"), "user_id")
            .set(&key("accepted_clients"), vec!["login-app"])
            .set("telemetry.log_level", "warn")
            .module(Module::new("mod-good"))
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
        let stage = Self { vault, rogues, keycloak, _redis: redis, _secret: secret };
        stage.register().await?;
        Ok(stage)
    }

    async fn register(&self) -> Result<()> {
        let url = format!("{}/realms/{REALM}/protocol/openid-connect/token", self.keycloak.base_url());
        let form = [
            ("grant_type", "password"),
            ("client_id", "login-app"),
            ("client_secret", "login-app-secret"),
            ("username", "alice"),
            ("password", "alice-password"),
            ("scope", "openid"),
        ];
        let login: Value = reqwest::Client::builder()
            .no_proxy()
            .build()?
            .post(url)
            .form(&form)
            .send()
            .await?
            .error_for_status()?
            .json()
            .await?;
        self.good()?.put(JOB, &json!({ "access_token": login["access_token"] })).await?.expect_status(201)?;
        Ok(())
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

fn counted((reason, count): (&str, &str)) -> Option<(String, f64)> {
    Some((reason.to_owned(), count.parse().ok()?))
}

fn rss_mib(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).ok_or_else(|| Failure::new("the vault's memory cannot be read"))
}
