//! The examination behind `tokenvault doctor`: what is set up so that it will hurt some night, and what to do about it.
//!
//! It asks the host, the files, Redis and Keycloak, and changes nothing there: no key is written, no user's session is
//! touched. What it cannot learn it calls not checked; it never guesses that something is fine. No line shows a secret.

mod accepted;
mod files;
mod host;
mod impersonators;
mod keycloak;
mod keys;
mod limits;
mod own_token;
mod redis;
mod sample;
mod session;
mod settings;
mod sizes;
mod view;
mod writable;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tokenvault_core::ports::{Clock, Entropy};
use tokenvault_core::secret::AccessToken;

use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::Config;
use tokenvault_server::entropy::OsEntropy;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// Worth knowing, and no hazard.
    Note,
    /// It will hurt.
    Hazard,
    /// A hazard that the operator knows of and lives with.
    Accepted,
    /// It could not be learnt.
    NotChecked,
}

impl Verdict {
    /// The word at the beginning of its line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Note => "note",
            Self::Hazard => "HAZARD",
            Self::Accepted => "accepted",
            Self::NotChecked => "not checked",
        }
    }
}

/// One check's result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The check's stable name.
    pub check: &'static str,
    /// What it came to.
    pub verdict: Verdict,
    /// What was examined: a tenant, a file, a key of the configuration; empty where the check's name says it.
    pub subject: String,
    /// What was found.
    pub finding: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order in which it was examined.
    pub lines: Vec<Line>,
    accepted: Vec<String>,
}

impl Report {
    /// How many hazards there are that nobody has accepted.
    pub fn hazards(&self) -> usize {
        self.lines.iter().filter(|line| line.verdict == Verdict::Hazard).count()
    }

    fn fine(&mut self, check: &'static str, subject: impl Into<String>, finding: impl Into<String>) {
        self.add(check, Verdict::Fine, subject.into(), finding.into(), String::new());
    }

    fn note(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Verdict::Note, subject.into(), finding.into(), remedy.into());
    }

    fn hazard(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let accepted = self.accepted.iter().any(|accepted| accepted == check);
        let verdict = if accepted { Verdict::Accepted } else { Verdict::Hazard };
        self.add(check, verdict, subject.into(), finding.into(), remedy.into());
    }

    fn unknown(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, Verdict::NotChecked, subject.into(), finding.into(), remedy.into());
    }

    /// The checks that were not made since something else came first, told in one line.
    fn stopped(&mut self, check: &'static str, subject: impl Into<String>, checks: &[&[&str]]) {
        let finding = format!("nothing more was looked at: {}", checks.concat().join(", "));
        self.unknown(check, subject, finding, "mend that first, and run it again");
    }

    /// Whether there is a line on the check about this.
    fn tells(&self, check: &str, subject: &str) -> bool {
        self.lines.iter().any(|line| line.check == check && line.subject == subject)
    }

    fn add(&mut self, check: &'static str, verdict: Verdict, subject: String, finding: String, remedy: String) {
        self.lines.push(Line { check, verdict, subject, finding, remedy });
    }
}

/// How to examine.
#[derive(Debug, Default)]
pub struct Options {
    /// Checks whose hazards the operator lives with.
    pub accepted: Vec<String>,
    /// A Keycloak administrator's access token, with which the realms' settings can be read.
    pub administrator: Option<AccessToken>,
}

/// The parts of an examination that every check may need.
struct Examination<'a> {
    config: &'a Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    administrator: Option<&'a AccessToken>,
}

/// Examines everything a configuration names.
pub async fn examine(config: &Config, options: Options) -> Report {
    let Options { accepted, administrator } = options;
    let mut report = Report { lines: Vec::new(), accepted };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    host::examine(config, &mut report);
    files::examine(config, clock.now(), &mut report);
    if let Err(error) = config.load_secrets() {
        for finding in &error.findings {
            let remedy = "see `tokenvault check-config`; what needs no such file is examined all the same";
            report.hazard("secrets", &finding.place, &finding.problem, remedy);
        }
    }
    let examination =
        Examination { config, clock, entropy: Arc::new(OsEntropy), administrator: administrator.as_ref() };
    let store_time = redis::examine(&examination, &mut report).await;
    keys::examine(&examination, store_time.is_some(), &mut report).await;
    keycloak::examine(&examination, store_time, &mut report).await;
    report
}

/// The files that hold secrets, each with the key that names it.
fn secret_files(config: &Config) -> Vec<(String, PathBuf)> {
    let mut files = vec![
        ("keyring.file".to_owned(), config.keyring.file.clone()),
        ("server.key_file".to_owned(), config.server.key_file.clone()),
    ];
    let more = [
        ("admin.key_file", config.admin.as_ref().map(|admin| &admin.key_file)),
        ("idp.key_file", config.idp.as_ref().map(|idp| &idp.key_file)),
        ("redis.password_file", config.redis.password_file.as_ref()),
        ("telemetry.otlp_headers_file", config.telemetry.otlp_headers_file.as_ref()),
        ("audit.hash_key_file", config.audit.hash_key_file.as_ref()),
    ];
    files.extend(more.into_iter().filter_map(|(key, file)| Some((key.to_owned(), file?.clone()))));
    for (name, tenant) in &config.tenants {
        files.push((format!("the credential of tenant {name}"), tenant.credential.file().to_owned()));
        for (client, file) in &tenant.adopt_clients {
            files.push((format!("the secret of {client} of tenant {name}"), file.clone()));
        }
    }
    files.dedup_by(|one, other| one.1 == other.1);
    files
}
