//! Carries out the blows of a storm, and afterwards puts everything back on its feet.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::Instant;

use super::orphans::Orphans;
use super::readers::Readers;
use super::schedule::{Blow, Planned, Way};
use super::stage::Stage;
use super::{Keycloaks, Options, REPLICAS};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::vault::Replica;
use crate::harness::{Failure, Result};
use crate::stage::now;

/// A blow that comes later than this, because the one before it took long, is left out: blows are not to pile up.
const LATE: Duration = Duration::from_millis(1500);
/// As much of a log as a replica needs to say under which name it takes leases.
const INTRODUCTION: u64 = 64 * 1024;

/// What was carried out.
#[derive(Debug, Default, Clone)]
pub struct Struck {
    /// SIGKILLs of whatever.
    pub kills: usize,
    /// Blows of every kind.
    pub blows: usize,
    /// Which replica was killed when, in milliseconds since the epoch.
    pub killed: Vec<(usize, u64)>,
    /// Which replica was stopped from when to when, in seconds since the epoch.
    pub stopped: Vec<(usize, f64, f64)>,
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
        if begin.elapsed() > *at + LATE {
            continue;
        }
        struck.kills += usize::from(matches!(blow, Blow::Kill(_) | Blow::Redis(_) | Blow::Keycloak(_)));
        struck.blows += 1;
        if let Blow::Kill(number) = blow {
            struck.killed.push((*number, millis()));
        }
        let from = now();
        strike(*blow, (stage, keycloak), orphans, &mut introduced).await?;
        if let Blow::Stop(number, _) = blow {
            struck.stopped.push((*number, from, now()));
        }
    }
    while Instant::now() < end {
        tokio::time::sleep_until(end.min(Instant::now() + Duration::from_secs(1))).await;
        told(&struck);
    }
    Ok(struck)
}

fn millis() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

async fn strike(
    blow: Blow,
    (stage, keycloak): (&mut Stage, &mut Keycloaks<'_>),
    orphans: &Orphans,
    introduced: &mut [u64; REPLICAS],
) -> Result<()> {
    match blow {
        Blow::Kill(number) => {
            let replica = &mut stage.vault.replicas()[number];
            let name = name(replica, introduced[number])?;
            replica.kill();
            orphans.died(name);
            introduced[number] = replica.process().log_path().metadata()?.len();
            replica.respawn()?;
        }
        Blow::Stop(number, length) => {
            let replica = &mut stage.vault.replicas()[number];
            let name = name(replica, introduced[number])?;
            replica.process().pause()?;
            orphans.died(name.clone());
            tokio::time::sleep(length).await;
            orphans.returned(name);
            replica.process().resume()?;
        }
        Blow::Spoil(way, fault, times) => proxy(stage, way)?.strike(fault, times, ""),
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
        }
        Blow::Keycloak(length) => {
            keycloak.own()?.kill()?;
            tokio::time::sleep(length).await;
            keycloak.own()?.restart().await?;
        }
    }
    Ok(())
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
