//! The good caller: it reads its job's token, at a steady pace, over a connection that stays and over new ones.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::stage::{MIN_TTL, Stage};
use crate::harness::Result;
use crate::harness::client::Client;

/// Between two reads.
const PACE: Duration = Duration::from_millis(5);
/// Every so many reads, one over a connection of its own.
const FRESH_EVERY: usize = 20;

/// How long reads took.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Timed {
    /// How many there were.
    pub reads: usize,
    /// How many of them brought no token.
    pub failed: usize,
    /// Why, by the problem's code: `token_not_ready` is a token that had not been renewed in time.
    pub why: BTreeMap<String, usize>,
    /// The middle one.
    pub p50_ms: f64,
    /// The slowest of the best ninety-nine hundredths.
    pub p99_ms: f64,
}

/// What is known of reads while they are timed.
#[derive(Default)]
struct Timing {
    took: Vec<f64>,
    why: BTreeMap<String, usize>,
}

impl Timing {
    fn add(&mut self, (outcome, took): (std::result::Result<(), String>, f64)) {
        match outcome {
            Ok(()) => self.took.push(took),
            Err(why) => *self.why.entry(why).or_default() += 1,
        }
    }

    fn done(mut self) -> Timed {
        let took = &mut self.took;
        took.sort_by(f64::total_cmp);
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index"
            )]
            let index = (took.len() as f64 * share) as usize;
            took.get(index.min(took.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        let (p50_ms, p99_ms) = (at(0.5), at(0.99));
        let failed = self.why.values().sum();
        Timed { reads: self.took.len() + failed, failed, why: self.why, p50_ms, p99_ms }
    }
}

/// Reads for a while, one job after the other: over one connection, and now and then over a new one. Nothing is waited for: a
/// token that is not there is late.
pub async fn measure(stage: &Stage, time: Duration) -> Result<(Timed, Timed)> {
    let steady = stage.good()?;
    drop(read(&steady, &stage.jobs[0]).await);
    let end = Instant::now() + time;
    let (mut over_one, mut over_new) = (Timing::default(), Timing::default());
    for (number, job) in stage.jobs.iter().cycle().enumerate() {
        if Instant::now() >= end {
            break;
        }
        over_one.add(read(&steady, job).await);
        if number % FRESH_EVERY == FRESH_EVERY - 1 {
            over_new.add(read(&stage.good()?, job).await);
        }
        tokio::time::sleep(PACE).await;
    }
    Ok((over_one.done(), over_new.done()))
}

/// One read: why it brought no token, if it did not, and how long it took, in milliseconds.
async fn read(client: &Client, job: &str) -> (std::result::Result<(), String>, f64) {
    let begun = Instant::now();
    let outcome = match client.get_with(job, &format!("wait=0&min_ttl={MIN_TTL}")).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(answer.code().to_owned()),
        Err(_) => Err("not_answered".to_owned()),
    };
    (outcome, begun.elapsed().as_secs_f64() * 1000.0)
}
