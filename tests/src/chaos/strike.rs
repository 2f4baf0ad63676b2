//! Carries out the blows of a storm, and afterwards puts everything back on its feet.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::Instant;

use super::orphans::Orphans;
use super::readers::Readers;
use super::schedule::{Blow, Planned, Way};
use super::stage::Stage;
use super::{Acquisition, Keycloaks, Options, REPLICAS, aim};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::Replica;
use crate::harness::{Failure, Result};
use crate::stage::now;

/// A blow that comes later than this, because the one before it took long, is left out: blows are not to pile up. The few
/// at Keycloak are dealt however late it is.
const LATE: Duration = Duration::from_millis(1500);
/// As much of a log as a replica needs to say under which name it takes leases.
const INTRODUCTION: u64 = 64 * 1024;

/// More requests than a storm has.
const ALWAYS: usize = 10_000;

/// What really hit something.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Hits {
    /// Replicas that ran and were killed.
    pub kills: usize,
    /// Replicas that ran and were stopped.
    pub stops: usize,
    /// Those of them that were stopped while a spend was under way.
    pub stops_at_spend: usize,
    /// Requests to Keycloak that met a fault.
    pub keycloak_requests: usize,
    /// Those of them that arrived twice, as far as the copy was answered.
    pub copies: usize,
    /// Requests to Redis that met a fault.
    pub redis_requests: usize,
    /// Times that Redis was killed and came back.
    pub redis_restarts: usize,
    /// Times that Keycloak was killed and came back.
    pub keycloak_restarts: usize,
}

impl Hits {
    fn count_requests(&mut self, stage: &Stage) {
        let Some([issuer, store]) = &stage.proxies else { return };
        self.keycloak_requests = issuer.struck();
        self.copies = issuer.copies().iter().filter(|answer| !answer.is_empty()).count();
        self.redis_requests = store.struck();
    }
}

/// A kill, in milliseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Killed {
    /// Who was killed.
    pub replica: usize,
    /// Just before the signal was sent.
    pub sent: u64,
    /// When the process was gone for certain.
    pub gone: u64,
}

/// A stop, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Who was stopped.
    pub replica: usize,
    /// Just before the signal was sent.
    pub from: f64,
    /// Just before it was let go on.
    pub until: f64,
}

impl Stopped {
    /// The same instant as `until`, in milliseconds.
    pub fn until_millis(&self) -> u64 {
        u64::try_from(Duration::from_secs_f64(self.until).as_millis()).unwrap_or_default()
    }
}

/// What was carried out.
#[derive(Debug, Default, Clone)]
pub struct Struck {
    /// SIGKILLs of whatever.
    pub kills: usize,
    /// Blows of every kind.
    pub blows: usize,
    /// What of it hit.
    pub hits: Hits,
    /// The replicas' kills.
    pub killed: Vec<Killed>,
    /// The replicas' stops.
    pub stopped: Vec<Stopped>,
}

/// Carries a plan out; returns when the storm's time is over.
pub async fn carry_out(
    plan: &[Planned],
    options: &Options,
    (stage, keycloak): (&mut Stage, &mut Keycloaks<'_>),
    (orphans, readers): (&Orphans, &Readers),
    progress: &ProgressBar,
) -> Result<Struck> {
    let begin = Instant::now();
    let end = begin + Duration::from_secs(options.seconds);
    let mut introduced = [0; REPLICAS];
    let mut struck = Struck::default();
    let told = |struck: &Struck| {
        progress.set_position(begin.elapsed().as_secs());
        let tally = readers.tally();
        progress.set_message(format!("{} kills, {} reads, {} failed", struck.kills, tally.reads(), tally.failed()));
    };
    for (at, blow) in plan {
        while begin + *at > Instant::now() {
            tokio::time::sleep_until((begin + *at).min(Instant::now() + Duration::from_secs(1))).await;
            told(&struck);
        }
        if begin.elapsed() > *at + LATE && !matches!(blow, Blow::Keycloak(_)) {
            continue;
        }
        struck.kills += usize::from(matches!(blow, Blow::Kill(_) | Blow::Redis(_) | Blow::Keycloak(_)));
        struck.blows += 1;
        let aims = options.has(Acquisition::Adopt);
        strike(*blow, (stage, keycloak), (orphans, aims), &mut introduced, &mut struck).await?;
    }
    while Instant::now() < end {
        tokio::time::sleep_until(end.min(Instant::now() + Duration::from_secs(1))).await;
        told(&struck);
    }
    struck.hits.count_requests(stage);
    Ok(struck)
}

fn millis() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

async fn strike(
    blow: Blow,
    (stage, keycloak): (&mut Stage, &mut Keycloaks<'_>),
    (orphans, aims): (&Orphans, bool),
    introduced: &mut [u64; REPLICAS],
    struck: &mut Struck,
) -> Result<()> {
    match blow {
        Blow::Kill(number) => kill(number, &mut stage.vault.replicas()[number], orphans, introduced, struck)?,
        Blow::Stop(number, length) => {
            let name = name(&mut stage.vault.replicas()[number], introduced[number])?;
            if let (true, Some(name)) = (aims, &name) {
                struck.hits.stops_at_spend += usize::from(aim::at_spend(stage, orphans.keys(), name).await?);
            }
            stop((number, length), &mut stage.vault.replicas()[number], (orphans, name), struck).await?;
        }
        Blow::Spoil(way, fault, times) => proxy(stage, way)?.strike(fault, times, ""),
        Blow::Repeat(what, after, times) => {
            proxy(stage, Way::Keycloak)?.strike(Fault::Duplicate(after), times, what.mark());
        }
        Blow::Slow(by) => proxy(stage, Way::Keycloak)?.strike(Fault::Delay(by), ALWAYS, "grant_type"),
        Blow::HangUp(way) => proxy(stage, way)?.hang_up(),
        Blow::Block(way, length) => {
            let proxy = proxy(stage, way)?;
            proxy.set(Fault::Refuse);
            proxy.hang_up();
            tokio::time::sleep(length).await;
            proxy.clear();
        }
        Blow::Redis(length) => {
            stage.redis.kill().await?;
            tokio::time::sleep(length).await;
            stage.redis.restart().await?;
            struck.hits.redis_restarts += 1;
        }
        Blow::Keycloak(length) => {
            keycloak.own()?.kill()?;
            tokio::time::sleep(length).await;
            keycloak.own()?.restart().await?;
            struck.hits.keycloak_restarts += 1;
        }
    }
    Ok(())
}

fn kill(
    number: usize,
    replica: &mut Replica,
    orphans: &Orphans,
    introduced: &mut [u64; REPLICAS],
    struck: &mut Struck,
) -> Result<()> {
    let name = name(replica, introduced[number])?;
    struck.hits.kills += usize::from(replica.process().exit_status().is_none());
    let sent = millis();
    replica.kill();
    struck.killed.push(Killed { replica: number, sent, gone: millis() });
    orphans.died(name);
    introduced[number] = replica.process().log_path().metadata()?.len();
    replica.respawn()
}

async fn stop(
    (number, length): (usize, Duration),
    replica: &mut Replica,
    (orphans, name): (&Orphans, Option<String>),
    struck: &mut Struck,
) -> Result<()> {
    let from = now();
    replica.process().pause()?;
    struck.hits.stops += usize::from(replica.process().exit_status().is_none());
    orphans.died(name.clone());
    tokio::time::sleep(length).await;
    orphans.returned(name);
    struck.stopped.push(Stopped { replica: number, from, until: now() });
    replica.process().resume()
}

fn proxy(stage: &Stage, way: Way) -> Result<&Proxy> {
    let proxies = stage.proxies.as_ref().ok_or_else(|| Failure::new("this stage has no proxies"))?;
    Ok(&proxies[usize::from(way == Way::Redis)])
}

/// The name under which a replica takes leases: it says so at its start. `None` if it did not live to say it.
fn name(replica: &mut Replica, since: u64) -> Result<Option<String>> {
    let mut log = File::open(replica.process().log_path())?;
    log.seek(SeekFrom::Start(since))?;
    let mut text = Vec::new();
    log.take(INTRODUCTION).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().find(|line| line.contains("leases are taken under this name"));
    let fields = line.and_then(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(fields.and_then(|fields| fields["replica"].as_str().map(str::to_owned)))
}

/// Ends every fault and waits until all parts answer again. A replica that ended by itself is a failure.
pub async fn calm(stage: &mut Stage, keycloak: &Keycloaks<'_>) -> Result<()> {
    for proxy in stage.proxies.iter().flatten() {
        proxy.clear();
    }
    for replica in stage.vault.replicas() {
        replica.wait_ready().await?;
    }
    keycloak.get().admin().token().await.map(drop)
}
