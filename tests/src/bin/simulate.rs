//! Plays as many fault points as wanted, shows how far it is, and ends with one line of JSON.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line speaks through its two streams")]

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokenvault_tests::sim::many::{Totals, fresh_seed, play};
use tokenvault_tests::sim::{Options, Outcome, run};

/// Renewal under every fault there is, in simulated time: the same seed gives the same trace.
#[derive(Debug, Parser)]
#[command(name = "simulate")]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, not the stages of one state")]
struct Arguments {
    /// Fault points to pass, at least.
    #[arg(long, default_value_t = 100_000)]
    points: u64,
    /// The first seed; the others follow it. A fresh one, which is told, if it is left out.
    #[arg(long)]
    seed: Option<u64>,
    /// Runs a naive renewer in the reconciler's place: it is to lose jobs.
    #[arg(long)]
    naive: bool,
    /// Crowds registrations into sessions whose interfaces revoke: what a stale exchange is made of.
    #[arg(long)]
    crowded: bool,
    /// Has the store show nobody who is joining a session, in a crowd: user sessions are to end of it.
    #[arg(long)]
    hides_joining: bool,
    /// Runs a vault that believes Keycloak's first no: jobs are to be lost of it
    #[arg(long)]
    credulous: bool,
    /// Plays the first seed alone and prints all of its events.
    #[arg(long)]
    trace: bool,
    /// What the last line looks like.
    #[arg(long, value_enum, default_value_t = Output::Json)]
    output: Output,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Output {
    /// One line of JSON.
    Json,
}

/// How many bad seeds are told of in full.
const TOLD: u64 = 40;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = Options {
        naive: arguments.naive,
        crowded: arguments.crowded || arguments.hides_joining,
        hides_joining: arguments.hides_joining,
        credulous: arguments.credulous,
        full: arguments.trace,
        ..Options::default()
    };
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    eprintln!("seeds from {seed}");
    let totals = if arguments.trace { replay(seed, options) } else { go(seed, &arguments, options) };
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string(&totals).expect("counts serialize")),
    }
    if holds(&arguments, &totals) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What is made to fail is to fail.
fn holds(arguments: &Arguments, totals: &Totals) -> bool {
    match (arguments.naive || arguments.credulous, arguments.hides_joining) {
        (true, _) => totals.excess_loss > 0,
        (_, true) => totals.ui_sessions_killed > 0,
        _ => totals.is_good(),
    }
}

fn replay(seed: u64, options: Options) -> Totals {
    let outcome = run(seed, &options);
    eprintln!("{}", outcome.full.as_deref().unwrap_or_default());
    let mut totals = Totals::default();
    totals.add(&outcome);
    tell(&outcome);
    totals
}

fn go(seed: u64, arguments: &Arguments, options: Options) -> Totals {
    let bar = ProgressBar::new(arguments.points);
    let style = "{elapsed_precise} {bar:30} {human_pos} of {human_len} points, {per_sec}, {eta} left {msg}";
    bar.set_style(ProgressStyle::with_template(style).expect("the template is well formed"));
    let mut bad = 0;
    let totals = play(seed, arguments.points, &options, |outcome, totals| {
        bar.set_position(totals.points);
        if !outcome.is_good() {
            bad += 1;
            bar.set_message(format!("({bad} bad seeds)"));
            if bad <= TOLD && !options.naive && !options.hides_joining && !options.credulous {
                bar.suspend(|| tell(outcome));
            }
        }
    });
    bar.finish();
    totals
}

fn tell(outcome: &Outcome) {
    if outcome.is_good() {
        return;
    }
    eprintln!("seed {}: {}", outcome.seed, outcome.stories.join("; "));
    for line in &outcome.last {
        eprintln!("  {line}");
    }
}
