//! `tokenvault completions`: what a shell needs to complete this command line.

use std::io::Write;

use clap_complete::Shell;

use crate::failure::Failure;

/// Print a completion script for a shell
///
/// For bash: tokenvault completions bash > ~/.local/share/bash-completion/completions/tokenvault
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, mut line: clap::Command, out: &mut dyn Write) -> Result<(), Failure> {
    // Generated in memory first: the generator panics where its output cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut line, "tokenvault", &mut script);
    Ok(out.write_all(&script)?)
}
