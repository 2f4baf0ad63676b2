//! The good caller: it reads its job's token, at a steady pace, over a connection that stays and over new ones.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::stage::{JOB, Stage};
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
    /// The middle one.
    pub p50_ms: f64,
    /// The slowest of the best ninety-nine hundredths.
    pub p99_ms: f64,
}

impl Timed {
    fn of(mut took: Vec<f64>, failed: usize) -> Self {
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
        Self { reads: took.len() + failed, failed, p50_ms: at(0.5), p99_ms: at(0.99) }
    }
}

/// Reads for a while: over one connection, and each over its own.
pub(super) async fn measure(stage: &Stage, time: Duration) -> Result<(Timed, Timed)> {
    let steady = stage.good()?;
    read(&steady).await;
    let end = Instant::now() + time;
    let (mut over_one, mut over_new) = (Vec::new(), Vec::new());
    let (mut failed_one, mut failed_new) = (0, 0);
    for number in 1.. {
        if Instant::now() >= end {
            break;
        }
        match read(&steady).await {
            Some(took) => over_one.push(took),
            None => failed_one += 1,
        }
        if number % FRESH_EVERY == 0 {
            match read(&stage.good()?).await {
                Some(took) => over_new.push(took),
                None => failed_new += 1,
            }
        }
        tokio::time::sleep(PACE).await;
    }
    Ok((Timed::of(over_one, failed_one), Timed::of(over_new, failed_new)))
}

/// One read; how long it took, in milliseconds, if it brought a token.
async fn read(client: &Client) -> Option<f64> {
    let begun = Instant::now();
    let answer = client.get(JOB).await.ok()?;
    (answer.status == 200).then(|| begun.elapsed().as_secs_f64() * 1000.0)
}
