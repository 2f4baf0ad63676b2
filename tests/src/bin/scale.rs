//! Keeps many jobs alive in one replica, and measures what that costs; ends with one line of JSON.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its two streams")]

use std::process::ExitCode;

use clap::Parser;
use tokenvault_tests::harness::Result;
use tokenvault_tests::scale::{self, Load};

/// Many live jobs in one replica, on a real Redis, against the stand-in for Keycloak in a process of its own.
#[derive(Debug, Parser)]
#[command(name = "scale")]
struct Arguments {
    /// How many jobs there are.
    #[arg(long, default_value_t = 100_000)]
    jobs: usize,
    /// Over how many sessions they are spread.
    #[arg(long, default_value_t = 1_000)]
    sessions: usize,
    /// How long an access token lives, in seconds.
    #[arg(long, default_value_t = 180)]
    life: u64,
    /// For how long they are watched once all are there, in seconds.
    #[arg(long, default_value_t = 900)]
    seconds: u64,
    /// How many registrations are under way at a time.
    #[arg(long, default_value_t = 32)]
    at_a_time: usize,
    /// How many tokens are read a second meanwhile.
    #[arg(long, default_value_t = 50)]
    reads: u64,
    /// How many renewals are under way at a time.
    #[arg(long, default_value_t = 32)]
    concurrency: i64,
    /// Be the stand-in, until the standard input ends.
    #[arg(long, hide = true)]
    keycloak: bool,
}

async fn run(arguments: Arguments) -> Result<bool> {
    if arguments.keycloak {
        scale::be_keycloak(arguments.life).await?;
        return Ok(true);
    }
    let Arguments { jobs, sessions, life, seconds, at_a_time, reads, concurrency, .. } = arguments;
    let load = Load { jobs, sessions, life, seconds, at_a_time, reads, concurrency };
    let report = scale::run(load, |step| eprintln!("{step}")).await?;
    println!("{}", serde_json::to_string(&report).expect("counts serialize"));
    Ok(report.is_good())
}

fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(Arguments::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
