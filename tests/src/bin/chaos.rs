//! `chaos`: one storm on real processes, and its account as one line of JSON.
//!
//! Everything it needs it starts itself, and stops again, also when it is interrupted. It must never be pointed at parts
//! that somebody uses.
#![allow(clippy::disallowed_methods, reason = "it drives real processes, so it reads the real clock and environment")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};
use tokenvault_tests::chaos::ground::Ground;
use tokenvault_tests::chaos::{self, Acquisition, Fault, Options, Report};
use tokenvault_tests::harness::{Failure, Result};
use tokio::signal::unix::{SignalKind, signal};

/// Put jobs on real processes through a storm and count what it cost
///
/// Three replicas, Redis and Keycloak on PostgreSQL are started for it; PostgreSQL, Redis, Java and Keycloak's distribution
/// are where `./test --install-only` puts them. The last line of the output is the account, as JSON. The status is 1 where
/// a promise was broken, except with --naive.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Args {
    /// How long faults go on
    #[arg(long, default_value_t = 120)]
    seconds: u64,
    /// How many jobs there are
    #[arg(long, default_value_t = 200)]
    jobs: usize,
    /// How the jobs come by their pairs; several with a comma in between, and each has its share
    #[arg(long, value_enum, value_delimiter = ',', default_value = "exchange")]
    acquisition: Vec<Acquisition>,
    /// What goes wrong
    #[arg(long, value_enum, default_value = "kill")]
    fault: Fault,
    /// Put the naive renewer in the reconciler's place
    #[arg(long)]
    naive: bool,
    /// What the faults are drawn from; a random one if it is left out
    #[arg(long)]
    seed: Option<u64>,
    /// The vault's `renewal.quarantine`, in seconds
    #[arg(long, default_value_t = 30)]
    quarantine: u64,
    /// A directory to leave the replicas' logs and Keycloak's refresh events in
    #[arg(long)]
    evidence: Option<PathBuf>,
    /// `text` shows progress on standard error; `json` shows nothing but the account
    #[arg(long, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options {
        seconds: args.seconds,
        jobs: args.jobs.max(1),
        acquisitions: args.acquisition,
        fault: args.fault,
        naive: args.naive,
        seed: args.seed.unwrap_or_else(|| u64::from(uuid::Uuid::new_v4().as_fields().0)),
        quarantine: args.quarantine,
        progress: args.output == Output::Text,
        evidence: args.evidence,
    };
    // Dropping the storm is what stops its processes.
    let outcome = tokio::select! {
        outcome = storm(&options) => outcome,
        () = interrupted() => Err(Failure::new("interrupted")),
        () = tokio::time::sleep(chaos::patience(&options)) => Err(Failure::new("the storm did not come to an end")),
    };
    conclude(&options, outcome)
}

async fn storm(options: &Options) -> Result<Report> {
    say(options, &format!("seed {}: the same seed draws the same faults", options.seed));
    build(options)?;
    say(options, "PostgreSQL and Keycloak are started");
    let mut ground = Ground::prepare(options.has(Acquisition::Impersonate)).await?;
    chaos::run(options, &mut ground).await
}

/// `cargo run` builds this program alone; the one it stages must not be older, unless `TOKENVAULT_BIN` names it.
fn build(options: &Options) -> Result<()> {
    if !options.naive && std::env::var_os("TOKENVAULT_BIN").is_some() {
        return Ok(());
    }
    let this = std::env::current_exe()?;
    let profile = this.parent().ok_or_else(|| Failure::new("this program has no directory"))?;
    let target = profile.parent().unwrap_or(Path::new("target"));
    let cargo = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let package = if options.naive { "tokenvault-tests" } else { "tokenvault" };
    let program = if options.naive { "naive-serve" } else { "tokenvault" };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--locked", "--package", package, "--bin", program]);
    if !options.naive {
        // As the workspace builds it.
        command.args(["--features", "otlp"]);
    }
    command.args(profile.ends_with("release").then_some("--release"));
    command.arg("--manifest-path").arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"));
    command.arg("--target-dir").arg(target).stdout(Stdio::null());
    say(options, &format!("{program} is built where it is not up to date"));
    if command.status()?.success() { Ok(()) } else { Err(Failure::new(format!("{program} could not be built"))) }
}

async fn interrupted() {
    match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
        (Ok(mut interrupt), Ok(mut terminate)) => tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        },
        _ => std::future::pending().await,
    }
}

#[expect(clippy::print_stdout, reason = "the account is the output")]
fn conclude(options: &Options, outcome: Result<Report>) -> ExitCode {
    let account = outcome.and_then(|report| Ok((report.is_broken(), serde_json::to_string(&report)?)));
    match account {
        Ok((broken, line)) => {
            println!("{line}");
            ExitCode::from(u8::from(broken && !options.naive))
        }
        Err(error) => complain(&error),
    }
}

#[expect(clippy::print_stderr, reason = "a program's complaint")]
fn complain(error: &Failure) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}

#[expect(clippy::print_stderr, reason = "progress is shown while it runs")]
fn say(options: &Options, what: &str) {
    if options.progress {
        eprintln!("{what}");
    }
}
