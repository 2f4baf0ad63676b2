//! `tokenvault doctor`: examines what the vault stands on, and says what will hurt and what to do about it.

use std::path::PathBuf;

use serde_json::json;
use tokenvault_core::secret::AccessToken;
use tokenvault_server::config::read_secret;

use crate::console::{ConfigFile, Console};
use crate::doctor::{self, Line, Options, Report, Verdict};
use crate::failure::Failure;
use crate::terminal::look::{Look, Tone};

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
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// A check whose hazard you know of and live with; may be given several times
    #[arg(long, value_name = "CHECK")]
    accept: Vec<String>,
    /// A file with an access token of a Keycloak administrator who may view the realms, their clients and their users
    #[arg(long, value_name = "FILE")]
    keycloak_admin_token: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
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
    let options = Options { accepted: args.accept.clone(), administrator: administrator.transpose()? };
    let report = crate::console::runtime()?.block_on(doctor::examine(&config, options));
    match args.output {
        Output::Table => writeln!(console.out, "{}", table(&report, &console.look))?,
        Output::Json => writeln!(console.out, "{:#}", json!({ "hazards": report.hazards(), "checks": report.lines }))?,
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

fn table(report: &Report, look: &Look) -> String {
    let widest = report.lines.iter().map(|line| line.check.len()).max().unwrap_or_default();
    let mut told: Vec<String> = report.lines.iter().map(|line| row(line, widest, look)).collect();
    let count = |verdict| report.lines.iter().filter(|line| line.verdict == verdict).count();
    let sum = format!(
        "{} checks: {} hazards, {} accepted, {} notes, {} not checked",
        report.lines.len(),
        report.hazards(),
        count(Verdict::Accepted),
        count(Verdict::Note),
        count(Verdict::NotChecked)
    );
    told.push(look.wrap(&sum, 2));
    told.join("\n")
}

/// A check's line. On a terminal its text hangs below itself, and the remedy has lines of its own.
fn row(line: &Line, widest: usize, look: &Look) -> String {
    let Line { check, verdict, subject, finding, remedy } = line;
    let about = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
    let word = look.paint(tone(*verdict), &format!("{:<VERDICT$}", verdict.word()));
    let hang = VERDICT + 2 + widest + 2;
    let (name, hang) = match look.width() {
        Some(width) if width < hang + ROOM => ((*check).to_owned(), VERDICT + 2),
        _ => (format!("{check:<widest$}"), hang),
    };
    let text = format!("{word}  {name}  {about}{finding}");
    match (remedy.is_empty(), look.is_terminal()) {
        (true, _) => look.wrap(&text, hang),
        (false, false) => format!("{text} → {remedy}"),
        (false, true) => {
            let remedy = look.wrap(&format!("{:hang$}→ {remedy}", ""), hang + 2);
            format!("{}\n{remedy}", look.wrap(&text, hang))
        }
    }
}

fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Fine => Tone::Good,
        Verdict::Hazard => Tone::Wrong,
        Verdict::Accepted | Verdict::NotChecked => Tone::Doubtful,
        Verdict::Note => Tone::Head,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::look::columns;

    fn line(remedy: &str) -> Line {
        let finding =
            "the store is ten seconds ahead of this machine, and a lease is over for it before it is over here";
        Line {
            check: "clock-skew",
            verdict: Verdict::Hazard,
            subject: "redis".to_owned(),
            finding: finding.to_owned(),
            remedy: remedy.to_owned(),
        }
    }

    #[test]
    fn a_line_hangs_below_itself_and_its_remedy_stands_alone() {
        let line = line("keep the clocks of all machines in step, with chrony or whatever is at hand");
        for (width, hang) in [(80, 13), (140, 35)] {
            let told = row(&line, 20, &Look::terminal(width));
            assert!(told.starts_with("HAZARD       clock-skew  "), "{told}");
            assert!(told.lines().all(|line| columns(line) <= width), "{told}");
            assert!(told.lines().skip(1).all(|line| line.starts_with(&" ".repeat(hang))), "{width}:\n{told}");
            assert!(told.contains(&format!("\n{:hang$}→ keep the clocks", "")), "{told}");
        }
        assert_eq!(row(&line, 20, &Look::plain()).lines().count(), 1);
    }
}
