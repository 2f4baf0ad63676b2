//! `tokenvault doctor`: examines what the vault stands on, and says what will hurt and what to do about it.

use std::path::PathBuf;

use serde_json::json;
use tokenvault_core::secret::AccessToken;
use tokenvault_server::config::read_secret;

use crate::console::{ConfigFile, Console};
use crate::doctor::{self, CheckResult, CheckVerdict, DoctorOptions, DoctorReport};
use crate::failure::Failure;
use crate::terminal::style::{OutputStyle, Tone};

/// Examine the host, the files, Redis and Keycloak for hazards
///
/// Asks what `serve` would ask, as the vault's own client, and changes nothing: no user's session is touched. Prints a line
/// for each check; a hazard comes with its remedy. What the vault's client cannot see is called not checked; with
/// `--keycloak-admin-token` the realms' settings are looked at, too. Where jobs may impersonate, a session of the
/// service account's own is opened and ended again. Exits 1 if there is a hazard.
///
/// Run it as the user the vault runs as, on its machine: modes, limits and clocks are those of this process.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// The form of the results
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    output: ReportFormat,
    /// A check whose hazard you know of and live with; may be given several times
    #[arg(long, value_name = "CHECK")]
    accept: Vec<String>,
    /// A file with an access token of a Keycloak administrator who may view the realms, their clients and their users
    #[arg(long, value_name = "FILE")]
    keycloak_admin_token: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// A line for each check
    Table,
    /// One JSON document
    Json,
}

pub(crate) fn run(args: &Args, console: &mut Console<'_>) -> Result<(), Failure> {
    let config = args.config.load()?;
    let administrator = args.keycloak_admin_token.as_deref().map(|file| {
        read_secret(file)
            .map(|secret| AccessToken::new(secret.expose()))
            .map_err(|finding| Failure::new(finding.to_string()))
    });
    let options = DoctorOptions { accepted: args.accept.clone(), administrator: administrator.transpose()? };
    let report = crate::console::runtime()?.block_on(doctor::examine(&config, options));
    match args.output {
        ReportFormat::Table => writeln!(console.out, "{}", table(&report, &console.style))?,
        ReportFormat::Json => {
            writeln!(console.out, "{:#}", json!({ "hazards": report.hazards(), "checks": report.results }))?;
        }
    }
    console.out.flush()?;
    let file = args.config.file.display();
    match report.hazards() {
        0 => Ok(()),
        1 => Err(Failure::new(format!("{file}: 1 hazard"))),
        many => Err(Failure::new(format!("{file}: {many} hazards"))),
    }
}

/// Below this a check's name gets no column of its own.
const ROOM: usize = 60;
/// The widest verdict.
const VERDICT: usize = 11;

fn table(report: &DoctorReport, style: &OutputStyle) -> String {
    let widest = report.results.iter().map(|line| line.check.len()).max().unwrap_or_default();
    let mut told: Vec<String> = report.results.iter().map(|line| row(line, widest, style)).collect();
    let count = |verdict| report.results.iter().filter(|line| line.verdict == verdict).count();
    let sum = format!(
        "{} checks: {} hazards, {} accepted, {} notes, {} not checked",
        report.results.len(),
        report.hazards(),
        count(CheckVerdict::Accepted),
        count(CheckVerdict::Note),
        count(CheckVerdict::NotChecked)
    );
    told.push(style.wrap(&sum, 2));
    told.join("\n")
}

/// A check's line. On a terminal its text hangs below itself, and the remedy has lines of its own.
fn row(line: &CheckResult, widest: usize, style: &OutputStyle) -> String {
    let CheckResult { check, verdict, subject, finding, remedy } = line;
    let about = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
    let word = style.paint(tone(*verdict), &format!("{:<VERDICT$}", verdict.word()));
    let hang = VERDICT + 2 + widest + 2;
    let (name, hang) = match style.width() {
        Some(width) if width < hang + ROOM => ((*check).to_owned(), VERDICT + 2),
        _ => (format!("{check:<widest$}"), hang),
    };
    let text = format!("{word}  {name}  {about}{finding}");
    match (remedy.is_empty(), style.is_terminal()) {
        (true, _) => style.wrap(&text, hang),
        (false, false) => format!("{text} → {remedy}"),
        (false, true) => {
            let remedy = style.wrap(&format!("{:hang$}→ {remedy}", ""), hang + 2);
            format!("{}\n{remedy}", style.wrap(&text, hang))
        }
    }
}

fn tone(verdict: CheckVerdict) -> Tone {
    match verdict {
        CheckVerdict::Fine => Tone::Good,
        CheckVerdict::Hazard => Tone::Wrong,
        CheckVerdict::Accepted | CheckVerdict::NotChecked => Tone::Doubtful,
        CheckVerdict::Note => Tone::Head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::style::columns;

    fn line(remedy: &str) -> CheckResult {
        let finding =
            "the store is ten seconds ahead of this machine, and a lease is over for it before it is over here";
        CheckResult {
            check: "clock-skew",
            verdict: CheckVerdict::Hazard,
            subject: "redis".to_owned(),
            finding: finding.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    #[test]
    fn a_line_hangs_below_itself_and_its_remedy_stands_alone() {
        let line = line("keep the clocks of all machines in step, with chrony or whatever is at hand");
        for (width, hang) in [(80, 13), (140, 35)] {
            let told = row(&line, 20, &OutputStyle::terminal(width));
            assert!(told.starts_with("HAZARD       clock-skew  "), "{told}");
            assert!(told.lines().all(|line| columns(line) <= width), "{told}");
            assert!(told.lines().skip(1).all(|line| line.starts_with(&" ".repeat(hang))), "{width}:\n{told}");
            assert!(told.contains(&format!("\n{:hang$}→ keep the clocks", "")), "{told}");
        }
        assert_eq!(row(&line, 20, &OutputStyle::plain()).lines().count(), 1);
    }
}
