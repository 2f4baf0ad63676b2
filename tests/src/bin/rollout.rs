//! `rollout`: a rolling restart behind a balancer that lags, under calls that must not fail, and its account as one line of JSON.
//!
//! Everything it needs it starts itself, and stops again. It must never be pointed at parts that somebody uses.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokenvault_tests::account;
use tokenvault_tests::harness::Result;
use tokenvault_tests::rollout::{Options, run};

/// Restart replicas one after the other behind a balancer, and count the calls that fail
///
/// Builds on `cargo build --release -p tokenvault`, or `TOKENVAULT_BIN`. The status is 1 where a promise was broken: no call
/// fails when it is tried twice, and at most one of a thousand when it is tried once.
#[derive(Debug, Parser)]
#[command(name = "rollout")]
struct Args {
    #[arg(long, default_value_t = 3)]
    replicas: usize,
    /// How often each replica is restarted
    #[arg(long, default_value_t = 10)]
    rounds: usize,
    /// Loops that call over a fresh connection each time
    #[arg(long, default_value_t = 4)]
    loops: usize,
    /// Loops that keep their connection, of each protocol
    #[arg(long, default_value_t = 1)]
    kept: usize,
    /// How long the balancer goes on with a replica that is not ready, in seconds
    #[arg(long, default_value_t = 2.0)]
    lag: f64,
    /// `server.shutdown_delay`, in seconds
    #[arg(long, default_value_t = 5)]
    delay: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    account::give(rollout(&Args::parse()).await)
}

async fn rollout(args: &Args) -> Result<(String, bool)> {
    let &Args { replicas, rounds, loops, kept, lag, delay } = args;
    let lag = Duration::try_from_secs_f64(lag)?;
    let report = run(&Options { replicas, rounds, loops, kept, lag, delay }).await?;
    Ok((serde_json::to_string(&report)?, report.kept))
}
