//! `tokenvault admin`: the operators' commands, over the admin API. One file a resource.
//!
//! A command sends a request and prints the answer: a table for people, JSON for programs. It decides nothing, knows nothing
//! about the store, and never sees a token. A command that changes many jobs asks first.

mod answer;
mod batch;
mod client;
mod confirm;
mod connection;
mod context;
mod events;
mod job;
mod job_search;
mod jobs;
mod keys;
mod pause;
mod profile;
mod renewal;
mod reseal;
mod status;
mod table;
mod time_formatter;
mod users;

use clap::Subcommand;

use crate::console::Console;
use crate::failure::Failure;
use client::AdminClient;
use connection::ConnectionArgs;
use context::{CommandContext, OutputFormat};

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
    #[arg(long, short, global = true, value_enum, default_value_t = OutputFormat::Table, help_heading = "Output")]
    output: OutputFormat,
    /// Show every column of a table, however narrow the terminal is
    #[arg(long, global = true, help_heading = "Output")]
    wide: bool,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    Status(status::Args),
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    #[command(subcommand)]
    Users(users::UsersCommand),
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    Reseal(reseal::Args),
    Pause(pause::PauseArgs),
    Resume(pause::ResumeArgs),
    Events(events::Args),
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    let client = AdminClient::new(&args.connection.resolve()?)?;
    let mut context = CommandContext { client, output: args.output, wide: args.wide, console };
    crate::console::runtime()?.block_on(args.command.run(&mut context))
}

impl AdminCommand {
    async fn run(&self, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
        match self {
            Self::Status(args) => status::run(args, context).await,
            Self::Jobs(command) => jobs::run(command, context).await,
            Self::Users(command) => users::run(command, context).await,
            Self::Keys(command) => keys::run(command, context).await,
            Self::Reseal(args) => reseal::run(args, context).await,
            Self::Pause(args) => pause::pause(args, context).await,
            Self::Resume(args) => pause::resume(args, context).await,
            Self::Events(args) => events::run(args, context).await,
        }
    }
}
