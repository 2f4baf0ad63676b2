//! What is measured, and what it stands on: processes that are gone when the stage is dropped.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use keycloak_double::{Double, DoubleConfig, RealmConfig};
use serde_json::json;

use super::small::{floor_key, sealed};
use crate::harness::certs::Certificate;
use crate::harness::policy::{self, Module};
use crate::harness::process::{Process, poll, wait_until};
use crate::harness::redis::Redis;
use crate::harness::vault::{Vault, VaultBuilder};
use crate::harness::{Failure, Result, ports, stand_in};

/// The realm, and the tenant of that name.
pub const REALM: &str = "diku";
/// The module that calls.
pub const MODULE: &str = "mod-bench";
/// How many jobs are read. Their names are `job-00` to `job-99`.
pub const JOBS: usize = 100;
/// No module's limits are to be measured.
const UNLIMITED: i64 = 1_000_000;
const START: Duration = Duration::from_secs(30);

/// The stand-in for Keycloak in a process of its own.
pub struct StandIn {
    process: Process,
    /// Where it listens.
    pub base_url: String,
}

impl StandIn {
    /// Starts `program double`, whose access tokens live so many seconds.
    pub async fn start(program: &PathBuf, life: u64, dir: &std::path::Path) -> Result<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let mut command = Command::new(program);
        command.args(["double", "--listen", &address.to_string(), "--life", &life.to_string()]);
        let process = Process::spawn("double", command, dir)?;
        let base_url = format!("http://{address}");
        let answers = || async { stand_in::log_in(&base_url, REALM).await.is_ok() };
        wait_until("the stand-in answers", START, answers).await?;
        Ok(Self { process, base_url })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }
}

/// Serves the stand-in until the process ends.
pub async fn serve_double(listen: SocketAddr, life: u64) -> Result<()> {
    let realm = RealmConfig::lab(REALM).with_settings(|settings| {
        settings.access_token_lifespan = life;
        settings.sso_session_idle = 24 * 3600;
        settings.sso_session_max = 24 * 3600;
    });
    let double = Double::start(DoubleConfig::new().realm(realm).address(listen)).await;
    let _double = double.map_err(|error| Failure::new(format!("the stand-in: {error}")))?;
    std::future::pending().await
}

/// A vault over a Redis and the stand-in, each in a process of its own.
pub struct Stage {
    /// The vault.
    pub vault: Vault,
    /// Its store.
    pub redis: Redis,
    /// Its identity provider.
    pub stand_in: StandIn,
    dir: tempfile::TempDir,
}

impl Stage {
    /// Starts everything; access tokens live so many seconds.
    pub async fn set(
        program: &PathBuf,
        life: u64,
        configure: impl FnOnce(VaultBuilder) -> VaultBuilder,
    ) -> Result<Self> {
        crate::harness::install_tls_provider();
        let dir = tempfile::tempdir()?;
        let stand_in = StandIn::start(program, life, dir.path()).await?;
        let redis = Redis::start().await?;
        let secret = dir.path().join("client-secret");
        fs::write(&secret, stand_in::SECRET)?;
        let issuer = format!("{}/realms/{REALM}", stand_in.base_url);
        let vault = stand_in::tenant(Vault::builder()?.redis(&redis), REALM, &issuer, &secret)
            .set("telemetry.log_level", "warn")
            .module(Module::new(MODULE));
        let limits = ["caller_rate", "caller_burst", "register_rate", "register_burst"];
        let vault = limits.iter().fold(vault, |vault, limit| vault.set(&format!("server.{limit}"), UNLIMITED));
        let vault = vault
            .set("server.caller_concurrency", UNLIMITED)
            .set("tenants.diku.max_jobs_per_user", UNLIMITED)
            .set("tenants.diku.max_records_per_module", UNLIMITED);
        let vault = configure(vault).start().await?;
        Ok(Self { vault, redis, stand_in, dir })
    }

    /// The certificate of the module that calls.
    pub fn certificate(&self) -> Result<Certificate> {
        self.vault.ca().issue(&policy::subject(&Module::new(MODULE)))
    }

    /// The vault's process.
    pub fn pid(&self) -> Result<u32> {
        self.vault.process_ids().first().copied().ok_or_else(|| Failure::new("the vault has no process"))
    }

    /// Registers the jobs that are read, with as many users' sessions as there are jobs.
    pub async fn register_jobs(&self) -> Result<()> {
        let client = self.vault.client(MODULE)?;
        for number in 0..JOBS {
            let login = stand_in::log_in(&self.stand_in.base_url, REALM).await?;
            let body = json!({ "access_token": login["access_token"] });
            client.put(&job(number), &body).await?.expect_status(201)?;
        }
        Ok(())
    }

    /// Starts a small program beside the vault, with its own server certificate.
    pub async fn small(&self, program: &PathBuf, kind: &str) -> Result<(Process, SocketAddr)> {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free()?));
        let server = self.vault.ca().server()?;
        let mut command = Command::new(program);
        command.args([kind, "--listen", &address.to_string(), "--redis", &self.redis.url(), "--files"]);
        command.args([&server.cert, &server.key, &self.vault.ca().cert_file()]);
        let process = Process::spawn(kind, command, self.dir.path())?;
        poll("a small program listens", START, || async move {
            tokio::net::TcpStream::connect(address).await.ok().map(drop)
        })
        .await?;
        Ok((process, address))
    }

    /// Seals the vault's tokens for the floor, so that both answer the same.
    pub async fn seal_for_the_floor(&self) -> Result<()> {
        let (client, mut redis) = (self.vault.client(MODULE)?, self.redis.connection().await?);
        for number in 0..JOBS {
            let name = job(number);
            let answer = client.get(&name).await?.expect_status(200)?;
            let value = sealed(&name, answer.access_token())?;
            redis::cmd("SET").arg(floor_key(&name)).arg(value).query_async::<()>(&mut redis).await?;
        }
        Ok(())
    }
}

/// A job's name by its number.
pub fn job(number: usize) -> String {
    format!("job-{number:02}")
}
