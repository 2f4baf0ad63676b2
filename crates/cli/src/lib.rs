//! The command line: one file a command in `commands/`. A command reads its arguments, calls the code that does the work, and
//! prints the result. It must never decide anything about tokens.
//!
//! `doctor/` and `demo/` do the work of the commands of those names. They know nothing of command lines.
//!
//! Results go to standard output, logs and failures to standard error. Only `keygen` prints a secret: that is its purpose. Exit status: 0 done, 1 failed, 2 wrong usage.

mod allocator;
mod commands;
mod console;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
mod failure;
mod hardening;
pub mod migration;
mod terminal;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use tokenvault_server::telemetry::panics;

pub use allocator::{ALLOCATOR, Allocator};
pub use console::{Console, runtime};
pub use failure::Failure;
pub use terminal::style::OutputStyle;
use terminal::style::Tone;

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
    Serve(commands::serve::Args),
    CheckConfig(commands::check_config::Args),
    Doctor(commands::doctor::Args),
    Migrate(commands::migrate::Args),
    Keygen(commands::keygen::Args),
    Admin(commands::admin::Args),
    Healthcheck(commands::healthcheck::Args),
    #[cfg(feature = "demo")]
    Demo(commands::demo::Args),
    #[cfg(feature = "demo")]
    Dev(commands::dev::Args),
    Completions(commands::completions::Args),
    Man(commands::man::Args),
}

/// Runs the process's own command line.
pub fn main() -> ExitCode {
    panics::install();
    hardening::close();
    let (mut out, mut err) = (io::stdout(), io::stderr());
    let (style, err_style) = (OutputStyle::of(&out), OutputStyle::of(&err));
    run(std::env::args_os(), &mut Console { out: &mut out, err: &mut err, style, err_style })
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
                let style = &console.err_style;
                let told = style.wrap(&format!("{} {text}", style.paint(Tone::Wrong, "tokenvault:")), 2);
                drop(writeln!(console.err, "{told}"));
            }
            failure.exit_code()
        }
    }
}

/// Prints help where it was asked for, and what is wrong with the command line where it was not.
fn explain(usage: &clap::Error, console: &mut Console<'_>) -> ExitCode {
    let text = usage.render();
    let (stream, style) =
        if usage.use_stderr() { (&mut *console.err, &console.err_style) } else { (&mut *console.out, &console.style) };
    let text = if style.is_coloured() { text.ansi().to_string() } else { text.to_string() };
    // Help is as wide as the terminal already; what is wrong is not.
    let text = if usage.use_stderr() { style.wrap(&text, 4) } else { text };
    // The exit status counts even where the explanation cannot be written.
    drop(stream.write_all(text.as_bytes()).and_then(|()| stream.flush()));
    u8::try_from(usage.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
}

impl Command {
    fn run(&self, console: &mut Console<'_>) -> Result<(), Failure> {
        match self {
            Self::Serve(args) => commands::serve::run(args),
            Self::CheckConfig(args) => commands::check_config::run(args, console),
            Self::Doctor(args) => commands::doctor::run(args, console),
            Self::Migrate(args) => commands::migrate::run(args, console),
            Self::Keygen(args) => commands::keygen::run(args, console.out),
            Self::Admin(args) => commands::admin::run(args, console),
            Self::Healthcheck(args) => commands::healthcheck::run(args, console.out),
            #[cfg(feature = "demo")]
            Self::Demo(args) => commands::demo::run(args, console),
            #[cfg(feature = "demo")]
            Self::Dev(args) => commands::dev::run(args, console),
            Self::Completions(args) => commands::completions::run(args, Cli::command(), console.out),
            Self::Man(args) => commands::man::run(args, Cli::command(), console.out),
        }
    }
}
