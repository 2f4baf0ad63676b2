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
pub(crate) mod look;
mod man;
mod migrate;
mod progress;
mod serve;
#[cfg(test)]
mod tests;
mod times;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{Config, DEFAULT_FILE, Environment};
use crate::hardening;
use crate::telemetry::panics;
pub use failure::Failure;
pub use look::Look;
use look::Tone;

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
    /// What the results are shown on.
    pub look: Look,
    /// What the failures are shown on.
    pub err_look: Look,
}

impl<'a> Console<'a> {
    /// Files or programs, and no terminal.
    pub fn plain(out: &'a mut dyn Write, err: &'a mut dyn Write) -> Self {
        Self { out, err, look: Look::plain(), err_look: Look::plain() }
    }
}

/// Runs the process's own command line.
pub fn main() -> ExitCode {
    panics::install();
    hardening::close();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let (look, err_look) = (Look::of(&out), Look::of(&err));
    run(std::env::args_os(), &mut Console { out: &mut out, err: &mut err, look, err_look })
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
                let look = &console.err_look;
                let told = look.wrap(&format!("{} {text}", look.paint(Tone::Wrong, "tokenvault:")), 2);
                drop(writeln!(console.err, "{told}"));
            }
            failure.exit_code()
        }
    }
}

/// Prints help where it was asked for, and what is wrong with the command line where it was not.
fn explain(usage: &clap::Error, console: &mut Console<'_>) -> ExitCode {
    let text = usage.render();
    let (stream, look) =
        if usage.use_stderr() { (&mut *console.err, &console.err_look) } else { (&mut *console.out, &console.look) };
    let text = if look.is_coloured() { text.ansi().to_string() } else { text.to_string() };
    // Help is as wide as the terminal already; what is wrong is not.
    let text = if usage.use_stderr() { look.wrap(&text, 4) } else { text };
    // Where nobody reads the explanation, the status still tells.
    drop(stream.write_all(text.as_bytes()).and_then(|()| stream.flush()));
    u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Command {
    fn run(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Self::Serve(args) => serve::run(args),
            Self::CheckConfig(args) => check_config::run(args, console),
            Self::Doctor(args) => doctor::run(args, console),
            Self::Migrate(args) => migrate::run(args, console),
            Self::Keygen(args) => keygen::run(args, console.out),
            Self::Admin(args) => admin::run(args, console),
            Self::Healthcheck(args) => healthcheck::run(args, console.out),
            #[cfg(feature = "demo")]
            Self::Demo(args) => demo::run(args, console),
            #[cfg(feature = "demo")]
            Self::Dev(args) => dev::run(args, console),
            Self::Completions(args) => completions::run(args, console.out),
            Self::Man(args) => man::run(args, console.out),
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
