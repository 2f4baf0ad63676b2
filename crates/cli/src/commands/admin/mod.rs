//! `tokenvault admin`: what operators do every day, over the admin API. One file for each resource.
//!
//! A command asks, and shows what was answered: as a table for people, as JSON for programs. It decides nothing, knows
//! nothing about the store, and never sees a token. What touches many jobs at once asks first.

mod client;
mod connection;
mod consent;
mod events;
mod eye;
mod job;
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

use crate::console::Console;
use crate::failure::Failure;
use crate::terminal::look::{Look, Tone};
use client::AdminClient;
use connection::ConnectionArgs;
use eye::Eye;
use table::Table;

/// Look after a running vault
///
/// Calls the admin listener of one of its replicas, whichever: they all tell
/// and do the same. Who you are is said by your client certificate, and what
/// you may do by the vault's admin policy. Where the vault is comes from the
/// options, or from a profile, such as this one (its file names are relative
/// to it) in ~/.config/tokenvault/profiles.toml:
///
///   [profile.production]
///   address = "vault.example.org:8444"
///   cacert = "vault-ca.pem"
///   cert = "alice.pem"
///   key = "alice.key"
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment, subcommand_value_name = "COMMAND")]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage, 3 the vault cannot be reached, 4 not found.")]
pub(crate) struct Args {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// How results are printed
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Table, help_heading = "Output")]
    output: Output,
    /// Show every column of a table, however narrow the terminal is
    #[arg(long, global = true, help_heading = "Output")]
    wide: bool,
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
    wide: bool,
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

    /// Prints a sentence of a result for people.
    fn line(&mut self, text: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.console.out, "{}", self.console.look.wrap(&text.to_string(), 2))?)
    }

    /// Prints a table for people, and how to see what there is no room for.
    fn table(&mut self, table: &Table) -> Result<(), Failure> {
        let shown = table.shown(&self.console.look, self.wide);
        writeln!(self.console.out, "{}", shown.text)?;
        if shown.left_out.is_empty() {
            return Ok(());
        }
        let more = format!("(no room for {}: --wide shows all)", shown.left_out.join(", "));
        let more = self.console.look.wrap(&more, 2);
        Ok(writeln!(self.console.out, "{}", self.console.look.paint(Tone::Faint, &more))?)
    }

    /// Whoever looks at the result.
    fn eye(&self) -> Eye {
        let look = if self.is_json() { Look::plain() } else { self.console.look.clone() };
        Eye::new(look, self.client.now())
    }
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = AdminClient::new(&args.connection.resolve()?)?;
    let mut desk = Desk { client, output: args.output, wide: args.wide, console };
    crate::console::runtime()?.block_on(args.command.run(&mut desk))
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
