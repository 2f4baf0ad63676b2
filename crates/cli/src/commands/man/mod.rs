//! `tokenvault man`: the manual pages, made from the command line's own description and from the sample configuration, so that
//! they tell what there is.

mod command;
mod page;
mod settings;
mod text;
mod topics;

use std::io::Write;
use std::path::PathBuf;

use self::page::ManualPage;
use crate::failure::Failure;

/// Print the manual page, or write all of them into a directory
///
/// To read one at once: tokenvault man tokenvault.toml | man -l -
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The page: `tokenvault`, `tokenvault.toml` (the configuration), or a command such as `serve` or `admin-jobs-list`
    #[arg(default_value = "tokenvault", conflicts_with = "dir")]
    page: String,
    /// Write tokenvault.1, a page for each command and tokenvault.toml.5 there, in place of those that are there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

fn pages(line: clap::Command) -> Vec<ManualPage> {
    let mut pages = command::pages(line);
    pages.push(settings::page());
    pages
}

pub(crate) fn run(args: &Args, line: clap::Command, out: &mut dyn Write) -> Result<(), Failure> {
    let Some(dir) = &args.dir else {
        let pages = pages(line);
        let names = [args.page.clone(), format!("tokenvault-{}", args.page)];
        let Some(page) = pages.iter().find(|page| names.contains(&page.name)) else {
            let known: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
            return Err(Failure::usage(format!("there is no page {:?}; there are {}", args.page, known.join(", "))));
        };
        return Ok(out.write_all(page.roff.as_bytes())?);
    };
    std::fs::create_dir_all(dir)?;
    for ManualPage { name, section, roff } in pages(line) {
        std::fs::write(dir.join(format!("{name}.{section}")), roff)?;
    }
    Ok(())
}
