//! `naive-serve serve --config FILE`: the product with the naive renewer in the reconciler's place.
//!
//! For the proof that a storm which the product survives can be lost. It must never be run for anything else.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokenvault_server::config::{Config, Environment};
use tokenvault_server::runtime::{self, Backing};
use tokenvault_server::telemetry::logs;
use tokenvault_tests::harness::{Failure, Result};
use tokenvault_tests::naive;

/// The vault as one would write it first.
#[derive(Parser)]
enum Command {
    /// Runs until it is ended.
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let Command::Serve { config } = Command::parse();
    match serve(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

async fn serve(file: PathBuf) -> Result<()> {
    let config = Config::load(&file, &Environment::default())?;
    logs::start(&config.telemetry);
    let running = runtime::start_with(&config, Backing::Redis, naive::run).await?;
    tokio::signal::ctrl_c().await?;
    running.finish().await;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "its log")]
fn fail(error: &Failure) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
