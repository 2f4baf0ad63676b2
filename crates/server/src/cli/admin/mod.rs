//! `tokenvault admin`: what operators do every day, over the admin API. One file for each resource.
//!
//! A command asks, and shows what was answered: as a table for people, as JSON for programs. It decides nothing, knows
//! nothing about the store, and never sees a token. What touches many jobs at once asks first.

mod client;
mod connection;
mod consent;
mod events;
mod jobs;
mod keys;
mod pause;
mod profile;
mod renewal;
mod reseal;
mod show;
mod status;
mod table;
mod users;

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use super::{Console, Failure};
use client::AdminClient;
use connection::ConnectionArgs;

/// Look after a running vault
///
/// Calls the admin listener of one of its replicas, whichever: they all tell and do the same.
/// Who you are is said by your client certificate, and what you may do by the vault's admin
/// policy. Where the vault is comes from the options, or from a profile, such as this one in
/// ~/.config/tokenvault/profiles.toml (its file names are relative to it):
///
///   [profile.production]
///   address = "vault.example.org:8444"
///   cacert = "vault-ca.pem"
///   cert = "alice.pem"
///   key = "alice.key"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, subcommand_value_name = "COMMAND")]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 the vault cannot be reached, 4 not found.")]
pub(super) struct Args {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How results are printed
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table, help_heading = "Output")]
    output: Output,
    #[command(subcommand)]
    command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Args),
    #[command(subcommand)]
    Jobs(jobs::Command),
    #[command(subcommand)]
    Users(users::Command),
    #[command(subcommand)]
    Keys(keys::Command),
    Reseal(reseal::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Events(events::Args),
}

/// What every command works with.
struct Desk<'a, 'c> {
    client: AdminClient,
    output: Output,
    console: &'a mut Console<'c>,
}

impl Desk<'_, '_> {
    /// Whether a program reads the result.
    fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints a result for programs.
    fn json(&mut self, value: &Value) -> Result<(), Failure> {
        Ok(writeln!(self.console.out, "{value:#}")?)
    }

    /// Prints a line of a result for people.
    fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.console.out, "{text}")?)
    }
}

pub(super) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = AdminClient::new(&args.connection.resolve()?)?;
    let mut desk = Desk { client, output: args.output, console };
    super::runtime()?.block_on(args.command.run(&mut desk))
}

impl Command {
    async fn run(&self, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
        match self {
            Self::Status(args) => status::run(args, desk).await,
            Self::Jobs(command) => jobs::run(command, desk).await,
            Self::Users(command) => users::run(command, desk).await,
            Self::Keys(command) => keys::run(command, desk).await,
            Self::Reseal(args) => reseal::run(args, desk).await,
            Self::Pause(args) => pause::pause(args, desk).await,
            Self::Resume(args) => pause::resume(args, desk).await,
            Self::Events(args) => events::run(args, desk).await,
        }
    }
}
