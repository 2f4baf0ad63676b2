//! The command line: one file a command. A command reads its arguments, calls what does the work and says how it went;
//! it decides nothing about tokens.
//!
//! Results go to standard output, logs and failures to standard error. No command prints a secret, but `keygen`, whose
//! purpose it is. Exit status: 0 done, 1 failed, 2 wrong usage.

mod admin;
mod check_config;
mod completions;
#[cfg(feature = "demo")]
mod demo;
#[cfg(feature = "demo")]
mod dev;
mod doctor;
mod failure;
mod healthcheck;
#[cfg(feature = "demo")]
mod idp_args;
pub(crate) mod keygen;
mod man;
mod migrate;
mod progress;
mod serve;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, DEFAULT_FILE, Environment};
use crate::hardening;
use crate::telemetry::panics;
pub use failure::Failure;

/// Keeps live access tokens ready for long-running jobs on Keycloak.
///
/// A job that runs for hours outlives its user's access token. It registers with the vault once, with the user's token as
/// proof, and from then on any of its modules asks the vault for a live access token by the job's id. Modules prove who
/// they are by client certificates.
///
/// New here? `tokenvault demo` shows the whole thing in half a minute; it needs nothing installed.
#[derive(Debug, Parser)]
#[command(name = "tokenvault", version, max_term_width = 100)]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    CheckConfig(check_config::Args),
    Doctor(doctor::Args),
    Migrate(migrate::Args),
    Keygen(keygen::Args),
    Admin(admin::Args),
    Healthcheck(healthcheck::Args),
    #[cfg(feature = "demo")]
    Demo(demo::Args),
    #[cfg(feature = "demo")]
    Dev(dev::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Where a command writes.
pub struct Console<'a> {
    /// Results.
    pub out: &'a mut dyn Write,
    /// Failures.
    pub err: &'a mut dyn Write,
    /// Whether a person is watching the results on a terminal.
    pub terminal: bool,
}

/// Runs the process's own command line.
pub fn main() -> ExitCode {
    panics::install();
    hardening::close();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let terminal = out.is_terminal();
    run(std::env::args_os(), &mut Console { out: &mut out, err: &mut err, terminal })
}

/// Runs a command line, the program's name first.
pub fn run<I, T>(arguments: I, console: &mut Console<'_>) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    // A second provider cannot be installed; then the first one, which is the same, stays.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return explain(&usage, console),
    };
    match cli.command.run(console).and_then(|()| console.out.flush().map_err(Failure::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text() {
                drop(writeln!(console.err, "tokenvault: {text}"));
            }
            failure.exit_code()
        }
    }
}

/// Prints help where it was asked for, and what is wrong with the command line where it was not.
fn explain(usage: &clap::Error, console: &mut Console<'_>) -> ExitCode {
    let text = usage.render();
    let text = if console.terminal { text.ansi().to_string() } else { text.to_string() };
    let stream = if usage.use_stderr() { &mut *console.err } else { &mut *console.out };
    // Where nobody reads the explanation, the status still tells.
    drop(stream.write_all(text.as_bytes()).and_then(|()| stream.flush()));
    u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Command {
    fn run(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        let out = &mut *console.out;
        match self {
            Self::Serve(args) => serve::run(args),
            Self::CheckConfig(args) => check_config::run(args, out),
            Self::Doctor(args) => doctor::run(args, out),
            Self::Migrate(args) => migrate::run(args, console),
            Self::Keygen(args) => keygen::run(args, out),
            Self::Admin(args) => admin::run(args, console),
            Self::Healthcheck(args) => healthcheck::run(args, out),
            #[cfg(feature = "demo")]
            Self::Demo(args) => demo::run(args, console),
            #[cfg(feature = "demo")]
            Self::Dev(args) => dev::run(args, out),
            Self::Completions(args) => completions::run(args, out),
            Self::Man(args) => man::run(args, out),
        }
    }
}

/// The option every command has that needs the configuration.
#[derive(Debug, clap::Args)]
struct ConfigFile {
    /// The configuration file; `TOKENVAULT_SECTION__KEY` variables override its keys
    #[arg(long = "config", short = 'c', value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Failure> {
        Ok(Config::load(&self.file, &Environment::of_process())?)
    }
}

/// The whole command line, for what is generated from it.
fn command() -> clap::Command {
    Cli::command()
}

/// The runtime commands run on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// The requests to end: SIGTERM and SIGINT, noticed from the moment this is made.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Must be made inside a runtime.
    fn listen() -> Result<Self, Failure> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Until the next one.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
