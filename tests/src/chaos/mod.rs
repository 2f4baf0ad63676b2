//! The chaos storm: jobs on real processes, with a fault every moment, and the account of what it cost.
//!
//! Three replicas of the real binary, a real Redis that writes before it answers, a real Keycloak on PostgreSQL. Modules
//! read all the while. Afterwards everybody is left alone until each job has been renewed twice or has ended, and then
//! the counting begins: not with what the vault says of itself, but with what readers were given, what Keycloak's own
//! events tell and which sessions it still has.
//!
//! It must never stop a process it did not start, never go on without end, and never count in the vault's favour what it
//! could not find out.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`ground`] | Keycloak on PostgreSQL, which several storms may share |
//! | [`stage`] | the realm, Redis, the replicas and the proxies of one storm |
//! | [`jobs`] | logs users in and registers their jobs |
//! | [`schedule`] | the faults, drawn from a seed before anything begins |
//! | [`strike`] | carries them out |
//! | [`aim`] | waits for the moment in which a stop hurts most |
//! | [`readers`] | modules that read and check what they get |
//! | [`orphans`] | how long the claims of a dead replica lie about |
//! | [`settle`] | waits until every job lives or has ended |
//! | [`evidence`] | what Keycloak's events tell, and whether a loss could have been helped |
//! | [`logs`] | what the replicas' logs tell |
//! | [`report`] | the counters |

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::harness::keycloak::Keycloak;
use crate::harness::{Failure, Result};
use ground::Ground;
use stage::Stage;

pub mod aim;
pub mod evidence;
pub mod ground;
pub mod jobs;
pub mod logs;
pub mod orphans;
pub mod readers;
pub mod report;
pub mod schedule;
pub mod settle;
pub mod stage;
pub mod strike;

pub use report::Report;

/// How the jobs come by their pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Acquisition {
    /// By exchange, in the users' sessions.
    Exchange,
    /// In sessions of their own; every fourth also watches its user's.
    Impersonate,
    /// Deposited pairs of a client that may not exchange: every renewal spends something irreplaceable.
    Adopt,
}

impl Acquisition {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Exchange, Self::Impersonate, Self::Adopt];

    /// As a registration spells it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Impersonate => "impersonate",
            Self::Adopt => "adopt",
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// SIGKILL of one replica each second; it is started again at once.
    Kill,
    /// SIGSTOP of one replica for longer than its lease, then SIGCONT. Keycloak answers slowly all the while, so that a
    /// replica is stopped in the middle of something.
    Stop,
    /// The ways to Keycloak and to Redis delay, lose and cut what they carry.
    Proxy,
    /// SIGKILL of Redis every few seconds; it comes back with its append-only file.
    Redis,
    /// SIGKILL of Keycloak, which comes back on the same database: once, or twice in a storm of more than two minutes.
    Keycloak,
    /// All of them, one after the other.
    All,
}

/// The storm that is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long faults go on.
    pub seconds: u64,
    /// How many jobs.
    pub jobs: usize,
    /// How they come by their pairs; where there are several ways, each has its share of the jobs.
    pub acquisitions: Vec<Acquisition>,
    /// What goes wrong.
    pub fault: Fault,
    /// The naive renewer in the reconciler's place.
    pub naive: bool,
    /// What all chance is drawn from.
    pub seed: u64,
    /// `renewal.quarantine`, in seconds.
    pub quarantine: u64,
    /// Whether progress is shown.
    pub progress: bool,
    /// Where the replicas' logs and Keycloak's events are left for whoever wants to know more.
    pub evidence: Option<PathBuf>,
}

impl Options {
    /// A storm of this kind and length, with the product's own quarantine.
    pub fn new(acquisitions: &[Acquisition], fault: Fault, seconds: u64, jobs: usize) -> Self {
        Self {
            seconds,
            jobs,
            acquisitions: acquisitions.to_vec(),
            fault,
            naive: false,
            seed: 1,
            quarantine: 30,
            progress: false,
            evidence: None,
        }
    }

    /// Whether some of the jobs come by their pairs in this way.
    pub fn has(&self, acquisition: Acquisition) -> bool {
        self.acquisitions.contains(&acquisition)
    }
}

/// An access token's life in seconds.
pub const AT_LIFE: u64 = 5;
/// `renewal.lease` in seconds. Below half of an access token's life, as in production by far: what a dead replica had
/// claimed then comes up again while its access token can still be exchanged, and nothing need be spent.
pub const LEASE: u64 = 2;
/// `request_timeout` in seconds: two calls of Keycloak fit into a lease.
pub const REQUEST_TIMEOUT: u64 = 1;
/// Replicas of the vault.
pub const REPLICAS: usize = 3;

/// One whole storm on this ground.
pub async fn run(options: &Options, ground: &mut Ground) -> Result<Report> {
    storm(options, &mut Keycloaks::Own(&mut ground.keycloak)).await
}

/// One whole storm on a Keycloak that others use, too: any but one that kills it.
pub async fn run_on(options: &Options, keycloak: &Keycloak) -> Result<Report> {
    if matches!(options.fault, Fault::Keycloak | Fault::All) {
        return Err(Failure::new("this storm needs a Keycloak that may be killed"));
    }
    storm(options, &mut Keycloaks::Shared(keycloak)).await
}

/// The Keycloak of a storm.
pub enum Keycloaks<'a> {
    /// One that the storm may kill.
    Own(&'a mut Keycloak),
    /// One that it may not.
    Shared(&'a Keycloak),
}

impl Keycloaks<'_> {
    fn get(&self) -> &Keycloak {
        match self {
            Self::Own(keycloak) => keycloak,
            Self::Shared(keycloak) => keycloak,
        }
    }

    fn own(&mut self) -> Result<&mut Keycloak> {
        match self {
            Self::Own(keycloak) => Ok(keycloak),
            Self::Shared(_) => Err(Failure::new("this Keycloak may not be killed")),
        }
    }
}

async fn storm(options: &Options, keycloak: &mut Keycloaks<'_>) -> Result<Report> {
    let progress = bar(options);
    progress.set_message("the stage is set");
    let mut stage = Stage::set(options, keycloak.get()).await?;
    progress.set_message("users log in, jobs are registered");
    let jobs = Arc::new(jobs::register(&stage, options).await?);
    let readers = readers::start(&stage, &jobs, options.seed)?;
    let orphans = orphans::watch(&stage, &jobs)?;
    let plan = schedule::draw(options);
    let struck = strike::carry_out(&plan, options, (&mut stage, keycloak), (&orphans, &readers), &progress).await;
    let struck = struck.map_err(|error| error.context("the storm could not be carried out"))?;
    progress.set_message("the storm is over, everything comes to rest");
    strike::calm(&mut stage, keycloak).await?;
    let ends = settle::wait(&stage, &jobs, Duration::from_secs(options.quarantine)).await?;
    let tally = readers.finish().await;
    let orphans = orphans.finish().await;
    let evidence = evidence::gather(&mut stage, options, (&jobs, &ends), &struck).await?;
    progress.finish_and_clear();
    Ok(report::make(options, &ends, &tally, &orphans, &evidence, &struck))
}

/// How long a storm may take in all before it is given up: it is bounded, whatever hangs.
pub fn patience(options: &Options) -> Duration {
    Duration::from_secs(options.seconds + 4 * options.quarantine + 600 + options.jobs as u64)
}

fn bar(options: &Options) -> ProgressBar {
    if !options.progress {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(options.seconds);
    let style = ProgressStyle::with_template("{elapsed_precise} [{bar:30}] {pos}/{len} s  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

fn refused(doing: &str, error: &impl std::fmt::Display) -> Failure {
    Failure::new(format!("{doing}: {error}"))
}
