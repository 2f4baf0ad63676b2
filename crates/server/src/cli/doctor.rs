//! `tokenvault doctor`: examines what the vault stands on, and says what will hurt and what to do about it.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;
use tokenvault_core::secret::AccessToken;

use super::{ConfigFile, Failure};
use crate::config::read_secret;
use crate::doctor::{self, Line, Options, Report, Verdict};

/// Examine the host, the files, Redis and Keycloak for hazards
///
/// Asks what `serve` would ask, as the vault's own client, and changes nothing: no user's session is touched. Prints a line
/// for each check; a hazard comes with its remedy. What the vault's client cannot see is called not checked; with
/// `--keycloak-admin-token` the realms' settings are looked at, too. Where jobs may impersonate, a session of the
/// service account's own is opened and ended again. Exits 1 if there is a hazard.
///
/// Run it as the user the vault runs as, on its machine: modes, limits and clocks are those of this process.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
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

pub(super) fn run(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let config = args.config.load()?;
    let administrator = args.keycloak_admin_token.as_deref().map(|file| {
        read_secret(file)
            .map(|secret| AccessToken::new(secret.expose()))
            .map_err(|finding| Failure::new(finding.to_string()))
    });
    let options = Options { accepted: args.accept.clone(), administrator: administrator.transpose()? };
    let report = super::runtime()?.block_on(doctor::examine(&config, options));
    match args.output {
        Output::Table => table(&report, out)?,
        Output::Json => writeln!(out, "{:#}", json!({ "hazards": report.hazards(), "checks": report.lines }))?,
    }
    out.flush()?;
    let file = args.config.file.display();
    match report.hazards() {
        0 => Ok(()),
        1 => Err(Failure::new(format!("{file}: 1 hazard"))),
        many => Err(Failure::new(format!("{file}: {many} hazards"))),
    }
}

fn table(report: &Report, out: &mut dyn Write) -> Result<(), Failure> {
    let width = report.lines.iter().map(|line| line.check.len()).max().unwrap_or_default();
    for line in &report.lines {
        let Line { check, verdict, subject, finding, remedy } = line;
        let about = if subject.is_empty() { String::new() } else { format!("{subject}: ") };
        let then = if remedy.is_empty() { String::new() } else { format!(" → {remedy}") };
        writeln!(out, "{:<11}  {check:<width$}  {about}{finding}{then}", verdict.word())?;
    }
    let count = |verdict| report.lines.iter().filter(|line| line.verdict == verdict).count();
    writeln!(
        out,
        "{} checks: {} hazards, {} accepted, {} notes, {} not checked",
        report.lines.len(),
        report.hazards(),
        count(Verdict::Accepted),
        count(Verdict::Note),
        count(Verdict::NotChecked)
    )?;
    Ok(())
}
