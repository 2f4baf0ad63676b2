//! A rolling restart under load: replicas behind a balancer that lags are stopped and started again one after the other, while modules
//! call over fresh connections and over such as they keep. What failed is counted, before a retry and after it.

mod calls;
pub mod stage;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::harness::Result;
use crate::harness::balancer::Balancer;
use calls::Caller;
use stage::Stage;

/// How long a replica may take to stop.
const STOPS_WITHIN: Duration = Duration::from_mins(2);

/// How it goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many replicas there are.
    pub replicas: usize,
    /// How often each of them is restarted.
    pub rounds: usize,
    /// How many loops call over a fresh connection each time.
    pub loops: usize,
    /// How many loops keep their connection, over each of HTTP/1.1 and HTTP/2.
    pub kept: usize,
    /// How much later than it sees it the balancer acts upon a replica that is not ready.
    pub lag: Duration,
    /// `server.shutdown_delay`, in seconds.
    pub delay: u64,
}

/// What came of calls of one kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Tally {
    /// How many there were.
    pub calls: usize,
    /// How many of them failed.
    pub failed: usize,
    /// How many of those failed again when they were tried once more, at once.
    pub failed_after_retry: usize,
    /// Why: the problem's code, or that nothing was answered.
    pub why: BTreeMap<String, usize>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.failed_after_retry += other.failed_after_retry;
        for (why, times) in other.why {
            *self.why.entry(why).or_default() += times;
        }
    }
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How many restarts there were.
    pub restarts: usize,
    /// How long the longest stop took, in milliseconds.
    pub longest_stop_ms: u128,
    /// How often a token was renewed.
    pub generation: u64,
    /// Over a fresh connection each.
    pub fresh: Tally,
    /// Over HTTP/1.1 connections that are kept for as long as they stand.
    pub kept_http1: Tally,
    /// The same over HTTP/2.
    pub kept_http2: Tally,
    /// Whether what is promised was kept.
    pub kept: bool,
}

impl Report {
    /// No call fails twice, and at most one of a thousand once.
    fn is_kept(&self) -> bool {
        [&self.fresh, &self.kept_http1, &self.kept_http2]
            .iter()
            .all(|tally| tally.calls > 0 && tally.failed_after_retry == 0 && tally.failed * 1000 <= tally.calls)
    }
}

/// Restarts every replica so many times, one after the other.
pub async fn run(options: &Options) -> Result<Report> {
    let mut stage = Stage::set(options.replicas, options.delay).await?;
    let balancer = Balancer::before(stage.vault.replicas(), options.lag).await?;
    let over = CancellationToken::new();
    let caller = |kind| stage.caller(&balancer.url(), kind);
    let mut loops = [Vec::new(), Vec::new(), Vec::new()];
    for (kind, loops) in [calls::Kind::Fresh, calls::Kind::Http1, calls::Kind::Http2].into_iter().zip(&mut loops) {
        let number = if kind == calls::Kind::Fresh { options.loops } else { options.kept };
        for at in 0..number {
            let caller: Caller = caller(kind)?;
            loops.push(tokio::spawn(caller.call_until(over.clone(), at)));
        }
    }
    let mut longest_stop_ms = 0;
    for _ in 0..options.rounds {
        for replica in stage.vault.replicas() {
            let begun = Instant::now();
            replica.terminate(STOPS_WITHIN).await?;
            longest_stop_ms = longest_stop_ms.max(begun.elapsed().as_millis());
            replica.restart().await?;
        }
    }
    // The balancer gives work to the last one again.
    tokio::time::sleep(options.lag).await;
    over.cancel();
    let mut tallies = [Tally::default(), Tally::default(), Tally::default()];
    for (tally, loops) in tallies.iter_mut().zip(loops) {
        for done in futures::future::try_join_all(loops).await? {
            tally.add(done?);
        }
    }
    let [fresh, kept_http1, kept_http2] = tallies;
    let (restarts, generation) = (options.rounds * options.replicas, stage.generation().await?);
    let mut report = Report { restarts, longest_stop_ms, generation, fresh, kept_http1, kept_http2, kept: false };
    report.kept = report.is_kept();
    Ok(report)
}
