//! `tokenvault man`: the manual pages, made from the command line's own description.

use std::io::Write;
use std::path::PathBuf;

use super::Failure;

/// Print the manual page, or write all of them into a directory
///
/// To read it at once: tokenvault man | man -l -
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write tokenvault.1 and a page for each command there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    match &args.dir {
        None => clap_mangen::Man::new(super::command()).render(out)?,
        Some(dir) => {
            std::fs::create_dir_all(dir)?;
            clap_mangen::generate_to(super::command(), dir)?;
        }
    }
    Ok(())
}
