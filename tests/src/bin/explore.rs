//! Explores the renewal machine exhaustively, world by world: see `tokenvault_tests::model`. A line for each world, and a
//! last one for all of them together; exits with 1 where something is violated.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its two streams")]
#![allow(clippy::disallowed_methods, reason = "it tells how long it took")]

use std::process::ExitCode;
use std::time::Instant;

use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use serde::Serialize;
use tokenvault_tests::model::catalogue::{STARTS, Start};
use tokenvault_tests::model::world::{Budget, Rules};
use tokenvault_tests::model::{Explored, explore};

/// Explore the renewal machine exhaustively, world by world
///
/// The status is 1 where something is violated.
#[derive(Debug, Parser)]
#[command(name = "explore")]
struct Arguments {
    /// How many events deep, in every world; each world's own depth if it is left out
    #[arg(long)]
    depth: Option<usize>,
    /// A world to explore, and no other; may be repeated
    #[arg(long = "world", value_name = "NAME", value_parser = PossibleValuesParser::new(STARTS.iter().map(|start| start.name)))]
    worlds: Vec<String>,
    /// Crashes, lost requests, lost answers, requests that arrive late
    #[arg(long)]
    faults: Option<u8>,
    /// Logouts, revocations and reuses by others
    #[arg(long)]
    others: Option<u8>,
    /// Further registrations
    #[arg(long)]
    newcomers: Option<u8>,
    /// Releases
    #[arg(long)]
    releases: Option<u8>,
    /// Rollbacks of a record in the store
    #[arg(long)]
    rollbacks: Option<u8>,
    /// Times in which Keycloak errs
    #[arg(long)]
    errors: Option<u8>,
    /// Keys of the realm that are deleted
    #[arg(long)]
    keys: Option<u8>,
    /// Jobs whose access token becomes too long to be exchanged
    #[arg(long)]
    oversized: Option<u8>,
    /// Logouts that are announced
    #[arg(long)]
    announcements: Option<u8>,
    /// Does not read a session's entry again right before an exchange: user sessions are to end of it
    #[arg(long)]
    blind: bool,
    /// What the lines look like
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Words.
    Text,
    /// A line of JSON each.
    Json,
}

#[derive(Serialize)]
struct Line<'a> {
    world: &'a str,
    #[serde(flatten)]
    found: Explored,
    seconds: f64,
}

/// All worlds together.
#[derive(Default, Serialize)]
struct Total {
    worlds: usize,
    states: usize,
    transitions: usize,
    violations: usize,
    seconds: f64,
}

#[derive(Serialize)]
struct LastLine {
    total: Total,
}

impl Total {
    fn add(&mut self, line: &Line<'_>) {
        self.worlds += 1;
        self.states += line.found.states;
        self.transitions += line.found.transitions;
        self.violations += line.found.violations.len();
        self.seconds += line.seconds;
    }
}

impl Arguments {
    fn explores(&self, start: &Start) -> bool {
        self.worlds.is_empty() || self.worlds.iter().any(|name| name == start.name)
    }

    fn budget(&self, usual: Budget) -> Budget {
        Budget {
            faults: self.faults.unwrap_or(usual.faults),
            others: self.others.unwrap_or(usual.others),
            newcomers: self.newcomers.unwrap_or(usual.newcomers),
            releases: self.releases.unwrap_or(usual.releases),
            rollbacks: self.rollbacks.unwrap_or(usual.rollbacks),
            errors: self.errors.unwrap_or(usual.errors),
            keys: self.keys.unwrap_or(usual.keys),
            oversized: self.oversized.unwrap_or(usual.oversized),
            announcements: self.announcements.unwrap_or(usual.announcements),
        }
    }

    fn explore(&self, start: &'static Start) -> Line<'static> {
        let begun = Instant::now();
        let rules = Rules { looks_again: !self.blind, ..Rules::default() };
        let world = start.world(rules, self.budget(start.budget));
        let depth = self.depth.unwrap_or(start.deep);
        let found = explore(world, depth, |depth, states| eprint!("\r{}: depth {depth}, {states} states ", start.name));
        eprintln!();
        Line { world: start.name, found, seconds: begun.elapsed().as_secs_f64() }
    }
}

fn json(line: &impl Serialize) -> String {
    serde_json::to_string(line).expect("plain data")
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut total = Total::default();
    for start in STARTS.iter().filter(|start| arguments.explores(start)) {
        let line = arguments.explore(start);
        total.add(&line);
        match arguments.output {
            Output::Json => println!("{}", json(&line)),
            Output::Text => println!("{}: {:?}, {:.1} s", line.world, line.found, line.seconds),
        }
    }
    let holds = total.violations == 0;
    match arguments.output {
        Output::Json => println!("{}", json(&LastLine { total })),
        Output::Text => {
            let Total { worlds, states, transitions, violations, seconds } = total;
            println!(
                "{worlds} worlds: {states} states, {transitions} transitions, {violations} violations, {seconds:.1} s"
            );
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
