//! Explores the renewal machine exhaustively, world by world: see `tokenvault_tests::model`.
//!
//! `explore [--depth N] [--world NAME]... [--faults N] [--others N] [--newcomers N] [--releases N] [--rollbacks N]
//! [--output json]`. A line for each world; exits with 1 where something is violated.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
#![allow(clippy::disallowed_methods, reason = "it tells how long it took")]

use std::process::ExitCode;
use std::time::Instant;

use serde::Serialize;
use tokenvault_tests::model::catalogue::STARTS;
use tokenvault_tests::model::world::{Budget, Rules};
use tokenvault_tests::model::{Explored, explore};

#[derive(Default)]
struct Options {
    depth: Option<usize>,
    worlds: Vec<String>,
    budget: [Option<u8>; 5],
    json: bool,
    blind: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    world: &'a str,
    #[serde(flatten)]
    found: Explored,
    seconds: f64,
}

const BUDGETS: [&str; 5] = ["--faults", "--others", "--newcomers", "--releases", "--rollbacks"];

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        let number = |text: String| text.parse::<u8>().map_err(|_| format!("{text} is no small number"));
        match name.as_str() {
            "--depth" => options.depth = Some(number(value()?)?.into()),
            "--world" => options.worlds.push(value()?),
            "--output" => options.json = value()? == "json",
            "--blind" => options.blind = true,
            _ => match BUDGETS.iter().position(|budget| *budget == name) {
                Some(place) => options.budget[place] = Some(number(value()?)?),
                None => return Err(format!("unknown: {name}")),
            },
        }
    }
    match options.worlds.iter().find(|name| STARTS.iter().all(|start| start.name != **name)) {
        Some(name) => Err(format!("no such world: {name}")),
        None => Ok(options),
    }
}

fn budget(given: &[Option<u8>; 5], usual: Budget) -> Budget {
    Budget {
        faults: given[0].unwrap_or(usual.faults),
        others: given[1].unwrap_or(usual.others),
        newcomers: given[2].unwrap_or(usual.newcomers),
        releases: given[3].unwrap_or(usual.releases),
        rollbacks: given[4].unwrap_or(usual.rollbacks),
    }
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let mut holds = true;
    for start in
        STARTS.iter().filter(|start| options.worlds.is_empty() || options.worlds.iter().any(|w| w == start.name))
    {
        let begun = Instant::now();
        let rules = Rules { looks_again: !options.blind, ..Rules::default() };
        let world = start.world(rules, budget(&options.budget, start.budget));
        let depth = options.depth.unwrap_or(start.deep);
        let found = explore(world, depth, |depth, states| eprint!("\r{}: depth {depth}, {states} states ", start.name));
        eprintln!();
        holds &= found.violations.is_empty();
        let line = Line { world: start.name, found, seconds: begun.elapsed().as_secs_f64() };
        if options.json {
            println!("{}", serde_json::to_string(&line).expect("plain data"));
        } else {
            let Line { world, found, seconds } = line;
            println!("{world}: {found:?}, {seconds:.1} s");
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
