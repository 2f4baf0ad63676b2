//! `tokenvault demo`: what the vault is for, in half a minute, with nothing installed.

use std::time::Duration;

use clap::ValueEnum;

use super::idp_args::RealParts;
use crate::console::{Console, StopSignals};
use crate::demo::{
    self, DemoObserver, DemoReport, DemoSettings, ListenPorts, NoOutput, ProgressBars, ProgressLog, Scenario,
    TokenShape,
};
use crate::failure::Failure;

/// Show what the vault is for, with everything embedded
///
/// Starts an identity provider that behaves as Keycloak does, a vault with a store in memory, two modules with throw-away
/// certificates and a server that saves records. Then one job, many times longer than an access token lives, is done
/// twice at the same time: with the token it was started with (it dies of 401), and with tokens from the vault (it saves
/// every record). Nothing is installed and nothing stays.
///
/// Exits 0 only if that is what happened.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many seconds an access token lives
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3600))]
    at_ttl: u64,
    /// How many seconds the job takes; at least three times --at-ttl
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(3..=86_400))]
    duration: u64,
    /// Let the user log out in the middle; the job is registered to survive that (a real Keycloak must run with
    /// `--features=token-exchange:v1`)
    #[arg(long)]
    logout: bool,
    /// `json` prints one object at the end and nothing else
    #[arg(long, value_enum, default_value_t = DemoFormat::Text)]
    output: DemoFormat,
    /// Show the vault's own log (on standard error) instead of the bars
    #[arg(long, short)]
    verbose: bool,
    #[command(flatten)]
    real: RealParts,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DemoFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    if args.duration < 3 * args.at_ttl {
        return Err(Failure::usage("--duration must be at least three times --at-ttl, or the plain job may survive"));
    }
    let settings = DemoSettings {
        shape: TokenShape::Folio,
        at_ttl: Duration::from_secs(args.at_ttl),
        survive_logout: args.logout,
        keycloak: args.real.keycloak()?,
        redis_url: args.real.redis_url.clone(),
        dir: None,
        ports: ListenPorts::default(),
        log_level: "info,tokenvault=debug".to_owned(),
        logs: args.verbose,
    };
    let scenario = Scenario { duration: Duration::from_secs(args.duration), logout: args.logout };
    let report = match args.output {
        DemoFormat::Json => play(&settings, scenario, &NoOutput)?,
        DemoFormat::Text if console.style.is_terminal() && !args.verbose => {
            play(&settings, scenario, &ProgressBars::new(scenario.records(), console.style.width()))?
        }
        DemoFormat::Text => play(&settings, scenario, &ProgressLog::to(console.out))?,
    };
    match args.output {
        DemoFormat::Json => writeln!(console.out, "{}", serde_json::to_string(&report).map_err(std::io::Error::from)?)?,
        DemoFormat::Text => {
            let conclusion = console.style.wrap(&report.conclusion(settings.at_ttl), 0);
            let next = if report.ok { next(args.logout) } else { String::new() };
            write!(console.out, "\n{}\n{conclusion}\n{next}", report.table())?;
        }
    }
    if report.ok { Ok(()) } else { Err(Failure::new("that is not what the demonstration should show")) }
}

/// What to try next; it fits any terminal.
fn next(logged_out: bool) -> String {
    let logout = ("tokenvault demo --logout", "the user logs out, and the job goes on");
    let steps = [
        ("tokenvault dev", "a vault to call with curl, until Ctrl-C"),
        ("tokenvault dev --folio", "the same with a tenant of FOLIO's"),
        ("tokenvault keygen --help", "the first key of a vault of your own"),
    ];
    let steps = (!logged_out).then_some(logout).into_iter().chain(steps);
    let lines: Vec<String> = steps.map(|(command, what)| format!("  {command:<26}{what}\n")).collect();
    format!(
        "\nWhat to try next:\n{}README.md leads from here to a vault of your own (\"For operators\").\n",
        lines.concat()
    )
}

fn play(settings: &DemoSettings, scenario: Scenario, observer: &dyn DemoObserver) -> Result<DemoReport, Failure> {
    crate::console::runtime()?.block_on(async {
        let mut stop = StopSignals::listen()?;
        let report = demo::with_environment(settings, stop.received(), async |environment| {
            demo::run(environment, scenario, observer).await
        })
        .await?;
        report.ok_or_else(|| Failure::new("stopped before the end"))
    })
}
