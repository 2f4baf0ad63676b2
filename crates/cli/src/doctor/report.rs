//! What the examination found: one result for each check. It only collects; a check decides what its result is.

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckVerdict {
    /// As it should be.
    Fine,
    /// Worth knowing, and no hazard.
    Note,
    /// It will cause a failure.
    Hazard,
    /// A hazard that the operator knows of and lives with.
    Accepted,
    /// It could not be examined.
    NotChecked,
}

impl CheckVerdict {
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
pub struct CheckResult {
    /// The check's stable name.
    pub check: &'static str,
    /// How it ended.
    pub verdict: CheckVerdict,
    /// What was examined: a tenant, a file, a key of the configuration; empty where the check's name says it.
    pub subject: String,
    /// What was found.
    pub finding: String,
    /// What to do about it; empty where nothing is to be done.
    pub remedy: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DoctorReport {
    /// In the order of the examination.
    pub results: Vec<CheckResult>,
    accepted: Vec<String>,
}

impl DoctorReport {
    /// An empty one, for an operator who lives with the hazards of these checks.
    pub(super) fn accepting(accepted: Vec<String>) -> Self {
        Self { results: Vec::new(), accepted }
    }

    /// How many hazards there are that nobody has accepted.
    pub fn hazards(&self) -> usize {
        self.results.iter().filter(|line| line.verdict == CheckVerdict::Hazard).count()
    }

    pub(super) fn fine(&mut self, check: &'static str, subject: impl Into<String>, finding: impl Into<String>) {
        self.add(check, CheckVerdict::Fine, subject.into(), finding.into(), String::new());
    }

    pub(super) fn note(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, CheckVerdict::Note, subject.into(), finding.into(), remedy.into());
    }

    pub(super) fn hazard(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let accepted = self.accepted.iter().any(|accepted| accepted == check);
        let verdict = if accepted { CheckVerdict::Accepted } else { CheckVerdict::Hazard };
        self.add(check, verdict, subject.into(), finding.into(), remedy.into());
    }

    pub(super) fn unknown(
        &mut self,
        check: &'static str,
        subject: impl Into<String>,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(check, CheckVerdict::NotChecked, subject.into(), finding.into(), remedy.into());
    }

    /// Adds one result for all checks that could not be made because something before them failed.
    pub(super) fn skip(&mut self, check: &'static str, subject: impl Into<String>, checks: &[&[&str]]) {
        let finding = format!("nothing more was looked at: {}", checks.concat().join(", "));
        self.unknown(check, subject, finding, "mend that first, and run it again");
    }

    /// Whether the check has a result about this subject.
    pub(super) fn has_result(&self, check: &str, subject: &str) -> bool {
        self.results.iter().any(|line| line.check == check && line.subject == subject)
    }

    fn add(&mut self, check: &'static str, verdict: CheckVerdict, subject: String, finding: String, remedy: String) {
        self.results.push(CheckResult { check, verdict, subject, finding, remedy });
    }
}
