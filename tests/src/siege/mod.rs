//! A siege: thousands of slow connections and a flood of streams that are reset as soon as they are opened, and meanwhile a
//! good caller whose reads are timed.
//!
//! The besiegers run in a process of their own with the lowest priority, so that on a small machine it is the vault's work for
//! them that is measured and not theirs. It must never be pointed at anything but the vault it starts.

pub mod attack;
pub mod frames;
mod good;
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
/// The promises.
const MOST_RATIO: f64 = 2.0;
const MOST_GROWTH_MIB: f64 = 64.0;

/// What is wanted.
#[derive(Debug, Clone)]
pub struct Options {
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
    /// Whether both promises were kept and no read failed.
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
    /// What the besiegers did.
    pub besiegers: attack::Account,
    /// Whom the vault turned away, by reason.
    pub turned_away: std::collections::BTreeMap<String, f64>,
    /// Its open connections at the end of the siege.
    pub open: f64,
}

/// Holds one.
pub async fn run(options: &Options) -> Result<Report> {
    let mut stage = Stage::set().await?;
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
    let besiegers = besiegers.finish()?;
    let (during, fresh_during) = measured?;
    let p99_ratio = during.p99_ms / before.p99_ms;
    let rss_growth_mib = rss_peak_mib - rss_before_mib;
    let failed = during.failed + fresh_during.failed + before.failed + fresh_before.failed;
    Ok(Report {
        kept: p99_ratio <= MOST_RATIO && rss_growth_mib < MOST_GROWTH_MIB && failed == 0,
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
        besiegers,
        turned_away,
        open,
    })
}

/// The besiegers' process; gone when dropped.
struct Besiegers(Child);

impl Besiegers {
    fn start(options: &Options, stage: &Stage) -> Result<Self> {
        let seconds = options.seconds + 2 * SETTLE.as_secs();
        let child = Command::new("nice")
            .args(["-n", "19"])
            .arg(&options.program)
            .args(["besiege", "--address", &stage.address()?.to_string()])
            .arg("--root")
            .arg(stage.vault.ca().cert_file())
            .args(stage.rogues.iter().flat_map(|rogue| ["--rogue".into(), rogue.cert.clone(), rogue.key.clone()]))
            .args(["--connections", &options.connections.to_string()])
            .args(["--floods", &options.floods.to_string(), "--seconds", &seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self(child))
    }

    /// Waits for their account.
    fn finish(&mut self) -> Result<attack::Account> {
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

impl Drop for Besiegers {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
