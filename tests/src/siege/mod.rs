//! A siege, and meanwhile a good caller whose reads are timed. The besiegers are strangers, with thousands of slow connections
//! and a flood of streams that are reset as soon as they are opened; or a member of the house, who does its worst with what it
//! is allowed.
//!
//! The besiegers run in a process of their own with the lowest priority, so that on a small machine it is the vault's work for
//! them that is measured and not theirs. It must never be pointed at anything but the vault it starts.

pub mod attack;
pub mod frames;
pub mod good;
pub mod member;
pub mod stage;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::harness::{Failure, Result};
use good::Timed;
use stage::Stage;

/// How long the vault is warmed up, and how long it has to fall over the besiegers before anything is timed.
const SETTLE: Duration = Duration::from_secs(5);
/// Jobs of a member, its requests under way at a time, and its connections: of the latter two what a module may have, by default, but for a few.
const MEMBER_JOBS: usize = 100;
const MEMBER_REQUESTS: usize = 1_000;
const MEMBER_CONNECTIONS: usize = 256;
/// The promises.
const MOST_RATIO: f64 = 2.0;
const MOST_GROWTH_MIB: f64 = 64.0;

/// Who besieges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Slow connections and floods, whose certificates are good for nothing here.
    Strangers,
    /// A module with a user's live token, which uses all it is allowed.
    Member,
}

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
    /// Who besieges.
    pub kind: Kind,
    /// Slow connections, in eight kinds of equal number.
    pub connections: usize,
    /// How long each of the two measurements takes.
    pub seconds: u64,
    /// Connections that open and reset streams.
    pub floods: usize,
    /// The program that runs the besiegers: this one.
    pub program: PathBuf,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Who besieged.
    pub kind: Kind,
    /// Whether the promises were kept: no read failed and no refresh token was spent, either.
    pub kept: bool,
    /// Slow connections that were kept up.
    pub connections: usize,
    /// How long each measurement took.
    pub seconds: u64,
    /// Reads over a connection that stays, in peace.
    pub before: Timed,
    /// The same under siege.
    pub during: Timed,
    /// Each a read over a connection of its own, handshake included, in peace.
    pub fresh_before: Timed,
    /// The same under siege.
    pub fresh_during: Timed,
    /// How many times as long the slowest hundredth took.
    pub p99_ratio: f64,
    /// The vault's memory in peace, MiB.
    pub rss_before_mib: f64,
    /// The most it was under siege.
    pub rss_peak_mib: f64,
    /// The difference.
    pub rss_growth_mib: f64,
    /// Refresh tokens that were spent.
    pub spends: f64,
    /// Keys in the store at the end.
    pub stored_keys: u64,
    /// The store's memory at the end, MiB.
    pub stored_mib: f64,
    /// What the strangers did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub besiegers: Option<attack::Account>,
    /// What the member did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<member::Account>,
    /// Whom the vault turned away, by reason.
    pub turned_away: std::collections::BTreeMap<String, f64>,
    /// Its open connections at the end of the siege.
    pub open: f64,
}

/// Holds one.
pub async fn run(options: &Options) -> Result<Report> {
    let mut stage = match options.kind {
        Kind::Strangers => Stage::set().await?,
        Kind::Member => Stage::for_member().await?,
    };
    let time = Duration::from_secs(options.seconds);
    good::measure(&stage, SETTLE).await?;
    let (before, fresh_before) = good::measure(&stage, time).await?;
    let rss_before_mib = stage.rss_mib()?;
    let mut besiegers = Besiegers::start(options, &stage)?;
    let (watch, stop) = stage.watch_rss();
    tokio::time::sleep(SETTLE).await;
    let measured = good::measure(&stage, time).await;
    stop.cancel();
    let rss_peak_mib = watch.await??;
    let open = stage.vault.replica().metric("tokenvault_connections", "").await?;
    let turned_away = stage.turned_away().await?;
    let account = besiegers.finish()?;
    let spends = stage.spends().await?;
    let (stored_keys, stored_mib) = stage.stored().await?;
    let (during, fresh_during) = measured?;
    let p99_ratio = during.p99_ms / before.p99_ms;
    let rss_growth_mib = rss_peak_mib - rss_before_mib;
    let failed = during.failed + fresh_during.failed + before.failed + fresh_before.failed;
    let (besiegers, member) = match options.kind {
        Kind::Strangers => (Some(serde_json::from_value(account)?), None),
        Kind::Member => (None, Some(serde_json::from_value(account)?)),
    };
    Ok(Report {
        kind: options.kind,
        kept: p99_ratio <= MOST_RATIO && rss_growth_mib < MOST_GROWTH_MIB && failed == 0 && spends == 0.0,
        connections: options.connections,
        seconds: options.seconds,
        before,
        during,
        fresh_before,
        fresh_during,
        p99_ratio,
        rss_before_mib,
        rss_peak_mib,
        rss_growth_mib,
        spends,
        stored_keys,
        stored_mib,
        besiegers,
        member,
        turned_away,
        open,
    })
}

/// The besiegers' process; gone when dropped.
struct Besiegers(Child);

impl Besiegers {
    fn start(options: &Options, stage: &Stage) -> Result<Self> {
        let time = Duration::from_secs(options.seconds) + 2 * SETTLE;
        let mut command = Command::new("nice");
        command.args(["-n", "19"]).arg(&options.program);
        match options.kind {
            Kind::Strangers => strangers(options, stage, time, &mut command)?,
            Kind::Member => {
                let orders = stage.member(MEMBER_JOBS, MEMBER_REQUESTS, MEMBER_CONNECTIONS, time)?;
                command.arg("misbehave").arg("--orders").arg(serde_json::to_string(&orders)?);
            }
        }
        Ok(Self(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?))
    }

    /// Waits for their account.
    fn finish(&mut self) -> Result<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_mins(1);
        while self.0.try_wait()?.is_none() {
            if Instant::now() > deadline {
                return Err(Failure::new("the besiegers do not come to an end"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = self.0.stdout.take().ok_or_else(|| Failure::new("the besiegers have no output"))?;
        Ok(serde_json::from_reader(output)?)
    }
}

fn strangers(options: &Options, stage: &Stage, time: Duration, command: &mut Command) -> Result<()> {
    command
        .args(["besiege", "--address", &stage.address()?.to_string()])
        .arg("--root")
        .arg(stage.vault.ca().cert_file())
        .args(stage.rogues.iter().flat_map(|rogue| ["--rogue".into(), rogue.cert.clone(), rogue.key.clone()]))
        .args(["--connections", &options.connections.to_string()])
        .args(["--floods", &options.floods.to_string(), "--seconds", &time.as_secs().to_string()]);
    Ok(())
}

impl Drop for Besiegers {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
