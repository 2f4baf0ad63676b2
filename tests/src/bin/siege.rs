//! `siege`: a vault under thousands of slow connections and a rapid-reset flood, or under a module of its own that does its
//! worst, and its account as one line of JSON.
//!
//! Everything it needs it starts itself, and stops again. It must never be pointed at parts that somebody uses.
#![allow(clippy::disallowed_methods, reason = "it drives real processes, so it reads the environment")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokenvault_tests::account;
use tokenvault_tests::harness::Result;
use tokenvault_tests::siege::attack::{self, Orders};
use tokenvault_tests::siege::{Kind, Options, member, run};

/// Besiege a vault and time a good caller's reads before and meanwhile
///
/// Builds on `cargo build --release -p tokenvault`, or `TOKENVAULT_BIN`. The status is 1 where a promise was broken: the
/// slowest hundredth of the reads takes at most twice as long, no read fails or finds a token that was not renewed in time, no
/// refresh token is spent, and the vault's memory grows by less than 64 MiB.
#[derive(Debug, Parser)]
#[command(name = "siege", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Who besieges: strangers with slow connections and floods, or a member of the house: a module with a valid certificate and
    /// a user's live token, which uses all it is allowed
    #[arg(long, value_enum, default_value = "strangers")]
    kind: Kind,
    /// Slow connections, an eighth each: silent ones, slow handshakes, slow heads and slow bodies; heads of 64 KiB without
    /// an end over both protocols, such heads one after the other, and large bodies without an end
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// Connections that open streams and reset them
    #[arg(long, default_value_t = 4)]
    floods: usize,
    /// How long each of the two measurements takes
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// What is printed in the end
    #[arg(long, value_enum, default_value = "json")]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The besiegers' own process
    #[command(hide = true)]
    Besiege {
        #[arg(long)]
        address: SocketAddr,
        #[arg(long)]
        root: PathBuf,
        /// A certificate and its key
        #[arg(long, num_args = 2)]
        rogue: Vec<PathBuf>,
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        floods: usize,
        #[arg(long)]
        seconds: u64,
    },
    /// The member's own process
    #[command(hide = true)]
    Misbehave {
        /// What it is to do, as JSON
        #[arg(long)]
        orders: String,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let files = getrlimit(Resource::Nofile);
    // With fewer there are fewer besiegers, as their account tells.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    let outcome = match args.command {
        Some(command) => besiege(command).await,
        None => siege(&args).await,
    };
    account::give(outcome)
}

async fn siege(args: &Args) -> Result<(String, bool)> {
    let Output::Json = args.output;
    let options = Options {
        kind: args.kind,
        connections: args.connections,
        floods: args.floods,
        seconds: args.seconds.max(1),
        program: std::env::current_exe()?,
    };
    let report = run(&options).await?;
    Ok((serde_json::to_string(&report)?, report.kept))
}

async fn besiege(command: Command) -> Result<(String, bool)> {
    let line = match command {
        Command::Besiege { address, root, rogue, connections, floods, seconds } => {
            let rogues = rogue.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
            let orders = Orders { address, root, rogues, connections, floods, time: Duration::from_secs(seconds) };
            serde_json::to_string(&attack::besiege(&orders).await?)?
        }
        Command::Misbehave { orders } => {
            serde_json::to_string(&member::besiege(&serde_json::from_str(&orders)?).await?)?
        }
    };
    Ok((line, true))
}
