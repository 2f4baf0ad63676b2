//! Word of what comes of files that are read again, for all of them alike: a metric for each, a line in the log, an event.
//!
//! A file that is refused is told once, and counted at every look until it is right. What takes rights away is told with
//! whom it takes them from. Nothing here decides what is refused, and nothing tells what is secret in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokenvault_vault::journal::{Entry, Journal};

use crate::config::Finding;
use crate::telemetry::metrics::{Metrics, ReloadedFile};

/// A line of the log names no more of those from whom something is taken.
const MOST_LOSSES: usize = 100;

/// What is not taken up, and why.
pub(crate) type ReloadRefusals = BTreeMap<ReloadedFile, ReloadRefusal>;

/// Why what a file says now is not taken up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReloadRefusal {
    pub(crate) problem: String,
    /// Where something is to be changed first.
    pub(crate) change_first: String,
}

/// What is wrong with a file, in one.
pub(crate) fn refusal(findings: &[Finding], file: Option<&Path>) -> ReloadRefusal {
    let problem = findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let change_first = file.map(|file| file.display().to_string());
    // What is wrong with a file that a tenant names is found at that file.
    ReloadRefusal {
        problem,
        change_first: change_first.or_else(|| Some(findings.first()?.place.clone())).unwrap_or_default(),
    }
}

/// What somebody could do before and cannot any more.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RightsLoss {
    pub(crate) from: String,
    pub(crate) what: String,
}

impl RightsLoss {
    pub(crate) fn new(from: impl Into<String>, what: impl Into<String>) -> Self {
        Self { from: from.into(), what: what.into() }
    }
}

impl fmt::Display for RightsLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.from, self.what)
    }
}

/// Where it is told.
pub struct Notices {
    metrics: Arc<Metrics>,
    journal: OnceLock<Arc<dyn Journal>>,
    refused: Mutex<ReloadRefusals>,
}

impl Notices {
    /// Nobody listens to events yet.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { metrics, journal: OnceLock::new(), refused: Mutex::default() })
    }

    /// Events go there from now on.
    pub fn report_to(&self, journal: Arc<dyn Journal>) {
        let _ = self.journal.set(journal);
    }

    /// What was found of these files at a look; those that are not among the refusals are right.
    pub(crate) fn report_reload(&self, files: &[ReloadedFile], now: &ReloadRefusals) {
        let mut refused = self.refused.lock();
        for &file in files {
            self.metrics.process.reload(file, now.contains_key(&file));
            let Some(refusal) = now.get(&file) else {
                if refused.remove(&file).is_some() {
                    tracing::info!(file = file.as_str(), "nothing is refused any more");
                }
                continue;
            };
            if refused.insert(file, refusal.clone()).as_ref() != Some(refusal) {
                let ReloadRefusal { problem, change_first } = refusal;
                tracing::error!(
                    file = file.as_str(),
                    change_first,
                    problem,
                    "a change is refused; what was in force stays"
                );
                self.record(Entry::reload(file.as_str(), "refused", problem));
            }
        }
    }

    /// What was just taken up takes this away.
    pub(crate) fn report_losses(&self, file: ReloadedFile, losses: &[RightsLoss]) {
        if losses.is_empty() {
            return;
        }
        let mut lost: Vec<_> = losses.iter().take(MOST_LOSSES).map(ToString::to_string).collect();
        if let Some(more @ 1..) = losses.len().checked_sub(MOST_LOSSES) {
            lost.push(format!("and {more} more"));
        }
        let lost = lost.join("; ");
        tracing::warn!(file = file.as_str(), lost, "a change takes rights away");
        self.record(Entry::reload(file.as_str(), "rights_removed", &lost));
    }

    /// What is refused now.
    #[cfg(test)]
    pub(crate) fn refused(&self) -> ReloadRefusals {
        self.refused.lock().clone()
    }

    fn record(&self, entry: Entry) {
        if let Some(journal) = self.journal.get() {
            journal.record(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokenvault_vault::journal::NotRecorded;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    #[async_trait]
    impl Journal for Heard {
        async fn note(&self, _entry: Entry) -> Result<(), NotRecorded> {
            Ok(())
        }

        fn record(&self, entry: Entry) {
            self.0.lock().push(format!("{} {}", entry.outcome, entry.detail.unwrap_or_default()));
        }
    }

    fn refusal(problem: &str) -> ReloadRefusals {
        ReloadRefusals::from([(
            ReloadedFile::AdminPolicy,
            ReloadRefusal { problem: problem.to_owned(), change_first: "f".to_owned() },
        )])
    }

    #[test]
    fn a_refusal_is_told_once_counted_at_every_look_and_over_when_the_file_is_right() {
        let (metrics, heard) = (Arc::new(Metrics::new()), Arc::new(Heard::default()));
        let notices = Notices::new(Arc::clone(&metrics));
        notices.report_to(Arc::clone(&heard) as Arc<dyn Journal>);
        let files = [ReloadedFile::AdminPolicy, ReloadedFile::Policy];
        let shown = |line: &str| metrics.encode().lines().any(|shown| shown == format!("tokenvault_{line}"));

        for problem in ["one", "one", "two"] {
            notices.report_reload(&files, &refusal(problem));
        }
        assert!(shown("reload_refused{file=\"admin_policy\"} 1") && shown("reload_refused{file=\"policy\"} 0"));
        assert!(shown("reload_failures_total{file=\"admin_policy\"} 3"));
        // Another file's look says nothing of this one.
        notices.report_reload(&[ReloadedFile::Policy], &ReloadRefusals::new());
        assert!(shown("reload_refused{file=\"admin_policy\"} 1"));

        notices.report_reload(&files, &ReloadRefusals::new());
        assert!(shown("reload_refused{file=\"admin_policy\"} 0"));
        assert_eq!(*heard.0.lock(), ["refused admin_policy: one", "refused admin_policy: two"]);
    }

    #[test]
    fn what_is_taken_away_is_told_with_whom_it_is_taken_from_and_not_without_end() {
        let heard = Arc::new(Heard::default());
        let notices = Notices::new(Arc::new(Metrics::new()));
        notices.report_to(Arc::clone(&heard) as Arc<dyn Journal>);
        notices.report_losses(ReloadedFile::Policy, &[]);
        notices.report_losses(
            ReloadedFile::Policy,
            &[RightsLoss::new("mod-a", "read"), RightsLoss::new("mod-b", "everything")],
        );
        notices.report_losses(ReloadedFile::Policy, &vec![RightsLoss::new("möd", "read"); 1000]);
        let heard = heard.0.lock();
        assert_eq!(heard[0], "rights_removed policy: mod-a: read; mod-b: everything");
        assert!(heard.len() == 2 && heard[1].chars().count() < 600 + 20 && heard[1].ends_with('…'));
    }
}
