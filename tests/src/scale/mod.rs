//! Many live jobs in one replica: how late their renewals are, and what they cost in the vault and in Redis.
//!
//! The jobs are registered through the API, spread over some sessions. Then they are left alone but for a few reads, and looked
//! at once more after a restart of the vault.

mod keycloak;
mod usage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use serde::Serialize;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use self::keycloak::KeycloakProcess;
pub use self::keycloak::be_keycloak;
use self::usage::{Histogram, Usage, memory_of, process_of};
use crate::harness::client::Client;
use crate::harness::policy::Module;
use crate::harness::redis::Redis;
use crate::harness::vault::Vault;
use crate::harness::{Failure, Result, install_tls_provider, stand_in};

const REALM: &str = "diku";
const MODULE: &str = "mod-good";

/// What is to be kept alive, and how.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// How many jobs there are.
    pub jobs: usize,
    /// Over how many sessions they are spread.
    pub sessions: usize,
    /// How long an access token lives, in seconds.
    pub life: u64,
    /// For how long they are watched, in seconds.
    pub seconds: u64,
    /// How many registrations are under way at a time.
    pub at_a_time: usize,
    /// How many tokens are read a second.
    pub reads: u64,
    /// How many renewals are under way at a time.
    pub concurrency: i64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    jobs: usize,
    sessions: usize,
    registrations_per_second: f64,
    renewals: f64,
    renewals_per_second: f64,
    lag_p50_seconds: f64,
    lag_p99_seconds: f64,
    reads: u64,
    expired_tokens_served: u64,
    failed_reads: u64,
    jobs_ended: f64,
    vault_cores: f64,
    vault_cpu_ms_per_renewal: f64,
    redis_cpu_ms_per_renewal: f64,
    vault_rss_mib: f64,
    redis_kib_per_job: f64,
    restart_seconds: f64,
}

impl Report {
    /// Whether every job lived on, and every token that was handed out was alive.
    pub fn is_good(&self) -> bool {
        self.expired_tokens_served == 0 && self.failed_reads == 0 && self.jobs_ended == 0.0
    }
}

/// Registers the jobs, watches them, and starts the vault once more.
pub async fn run(load: Load, tell: impl Fn(&str)) -> Result<Report> {
    install_tls_provider();
    let keycloak = KeycloakProcess::start(load.life).await?;
    let (redis, secret) = (Redis::start().await?, tempfile::tempdir()?);
    let secret_file = secret.path().join("client-secret");
    std::fs::write(&secret_file, stand_in::SECRET)?;
    let issuer = format!("{}/realms/{REALM}", keycloak.base_url());
    let most = i64::try_from(2 * load.jobs).unwrap_or(i64::MAX);
    let mut vault = stand_in::tenant(Vault::builder()?.redis(&redis), REALM, &issuer, &secret_file)
        .set("telemetry.log_level", "warn")
        .set("renewal.concurrency", load.concurrency)
        .set("server.register_rate", most)
        .set(&format!("tenants.{REALM}.max_jobs_per_user"), most)
        .set(&format!("tenants.{REALM}.max_records_per_module"), most)
        .module(Module::new(MODULE))
        .start()
        .await?;
    let empty = memory_of(&redis).await?;
    let client = Arc::new(vault.client(MODULE)?);
    let registrations_per_second = register(load, &client, keycloak.base_url()).await?;
    tell(&format!("{} jobs are registered, {registrations_per_second:.0} a second", load.jobs));

    let pids = [vault.process_ids()[0], process_of(&redis).await?];
    let [vault_before, redis_before] = [Usage::of(pids[0])?, Usage::of(pids[1])?];
    let before = Sight::of(&mut vault).await?;
    let began = Instant::now();
    let reads = read(load, &client).await;
    let took = began.elapsed().as_secs_f64();
    let after = Sight::of(&mut vault).await?;
    let [vault_after, redis_after] = [Usage::of(pids[0])?, Usage::of(pids[1])?];

    let kept = memory_of(&redis).await? - empty;
    vault.replica().terminate(Duration::from_mins(1)).await?;
    let stopped = Instant::now();
    vault.replica().restart().await?;
    let restart_seconds = stopped.elapsed().as_secs_f64();

    let (renewals, lag) = (after.renewals - before.renewals, after.lag.since(&before.lag));
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 jobs")]
    let jobs = load.jobs as f64;
    Ok(Report {
        jobs: load.jobs,
        sessions: load.sessions,
        registrations_per_second,
        renewals,
        renewals_per_second: renewals / took,
        lag_p50_seconds: lag.quantile(0.5),
        lag_p99_seconds: lag.quantile(0.99),
        reads: reads.answered,
        expired_tokens_served: reads.expired,
        failed_reads: reads.failed,
        jobs_ended: after.ended,
        vault_cores: (vault_after.cpu_seconds - vault_before.cpu_seconds) / took,
        vault_cpu_ms_per_renewal: (vault_after.cpu_seconds - vault_before.cpu_seconds) * 1000.0 / renewals.max(1.0),
        redis_cpu_ms_per_renewal: (redis_after.cpu_seconds - redis_before.cpu_seconds) * 1000.0 / renewals.max(1.0),
        vault_rss_mib: vault_after.rss_mib,
        redis_kib_per_job: kept / 1024.0 / jobs,
        restart_seconds,
    })
}

/// Registers all jobs; answers how many a second that were.
async fn register(load: Load, client: &Client, keycloak: &str) -> Result<f64> {
    let mut took = Duration::ZERO;
    for session in 0..load.sessions {
        let login = stand_in::log_in(keycloak, REALM).await?;
        let body = json!({ "access_token": login["access_token"] });
        let of_session = (session..load.jobs).step_by(load.sessions);
        let puts = of_session.map(|number| {
            let (body, id) = (&body, job(number));
            async move { client.put(&id, body).await?.expect_status(201).map(drop) }
        });
        let began = Instant::now();
        let mut puts = futures::stream::iter(puts).buffer_unordered(load.at_a_time);
        while let Some(put) = puts.next().await {
            put?;
        }
        took += began.elapsed();
    }
    #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 jobs")]
    Ok(load.jobs as f64 / took.as_secs_f64())
}

fn job(number: usize) -> String {
    format!("scale-{number}")
}

#[derive(Default)]
struct Reads {
    answered: u64,
    expired: u64,
    failed: u64,
}

/// Reads one job after the other for as long as is wanted.
async fn read(load: Load, client: &Client) -> Reads {
    let (end, mut reads, mut number) = (Instant::now() + Duration::from_secs(load.seconds), Reads::default(), 0);
    if load.reads == 0 {
        sleep(Duration::from_secs(load.seconds)).await;
        return reads;
    }
    let mut ticks = interval(Duration::from_secs(1) / u32::try_from(load.reads).unwrap_or(u32::MAX));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < end {
        ticks.tick().await;
        // Far apart, so that each is another session's.
        number = (number + 7_919) % load.jobs;
        match client.get(&job(number)).await {
            Ok(answer) if answer.status == 200 => {
                reads.answered += 1;
                reads.expired += u64::from(answer.body["expires_in"].as_f64().unwrap_or_default() <= 0.0);
            }
            _ => reads.failed += 1,
        }
    }
    reads
}

/// What the vault's metrics say.
struct Sight {
    renewals: f64,
    ended: f64,
    lag: Histogram,
}

impl Sight {
    async fn of(vault: &mut Vault) -> Result<Self> {
        let text = vault.replica().metrics().await?;
        let sum = |name: &str, label: &str| -> f64 {
            let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
            lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        let lag = Histogram::read(&text, "tokenvault_renewal_lag_seconds_bucket");
        let lag = lag.ok_or_else(|| Failure::new("the vault tells of no lag"))?;
        let renewed = |step: &str| sum("tokenvault_renewals_total", &format!("step=\"{step}\",outcome=\"ok\""));
        Ok(Self { renewals: renewed("exchange"), ended: sum("tokenvault_jobs_ended_total", ""), lag })
    }
}
