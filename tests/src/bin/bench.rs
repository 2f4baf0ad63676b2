//! `bench`: how fast the vault is, beside the least that can be built.
//!
//! Everything it needs it starts itself, and stops again. It must never be pointed at parts that somebody uses.
#![allow(clippy::disallowed_methods, reason = "it drives real processes, so it reads the environment")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokenvault_tests::account;
use tokenvault_tests::bench::small::{Program, SmallServer};
use tokenvault_tests::bench::{reads, report, small, stage};
use tokenvault_tests::harness::Result;

/// The vault's own allocator.
#[global_allocator]
static ALLOCATOR: tokenvault::Allocator = tokenvault::ALLOCATOR;

/// Measure the vault beside the least that can be built
///
/// Builds on `cargo build --release --workspace`, or `TOKENVAULT_BIN`. The load comes from `oha` (`cargo install --locked oha`).
#[derive(Debug, Parser)]
#[command(name = "bench")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reads over mutual TLS: hello, the floor, and the vault
    Reads {
        /// Repetitions of each measurement
        #[arg(long, default_value_t = 5)]
        repetitions: usize,
        /// How long each takes, in seconds
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Measures this server alone, such as `floor` or `vault, HTTP/2`; may be given several times
        #[arg(long)]
        only: Vec<String>,
    },
    /// The small program *hello*
    #[command(hide = true)]
    Hello(SmallArgs),
    /// The small program *floor*
    #[command(hide = true)]
    Floor(SmallArgs),
    /// The stand-in for Keycloak
    #[command(hide = true)]
    Double {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        life: u64,
    },
}

#[derive(Debug, clap::Args)]
struct SmallArgs {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    redis: String,
    /// Certificate, key, and the CA of clients
    #[arg(long, num_args = 3)]
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    tokenvault_tests::harness::install_tls_provider();
    let runtime = match tokenvault::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return account::give(Err(error.into())),
    };
    account::give(runtime.block_on(run(args.command)))
}

async fn run(command: Command) -> Result<(String, bool)> {
    match command {
        Command::Reads { repetitions, seconds, only } => {
            let options = reads::ReadOptions {
                program: std::env::current_exe()?,
                repetitions: repetitions.max(1),
                time: Duration::from_secs_f64(seconds.max(0.1)),
                only,
            };
            let report = reads::run(&options).await?;
            Ok((report::table(&report.rows, "floor"), !report.void))
        }
        Command::Hello(args) => {
            small::serve(args.server(), Program::Hello).await?;
            Ok((String::new(), true))
        }
        Command::Floor(args) => {
            let redis = args.redis.clone();
            small::serve(args.server(), Program::Floor { redis }).await?;
            Ok((String::new(), true))
        }
        Command::Double { listen, life } => {
            stage::serve_double(listen, life).await?;
            Ok((String::new(), true))
        }
    }
}

impl SmallArgs {
    fn server(self) -> SmallServer {
        let mut files = self.files.into_iter();
        let mut next = || files.next().unwrap_or_default();
        SmallServer { listen: self.listen, files: [next(), next(), next()] }
    }
}
