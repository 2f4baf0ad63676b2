//! How the two jobs went, and whether they show what the demonstration claims.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::jobs::JobProgress;

/// The result, as programs read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DemoReport {
    /// The job with a plain token.
    pub plain: PlainResult,
    /// The job with the vault.
    pub vault: VaultResult,
    /// Whether the plain job died of 401 and the job with the vault saved every record.
    pub ok: bool,
}

/// The job that kept the token it was started with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlainResult {
    /// Records it had to save.
    pub records: u64,
    /// Records saved.
    pub done: u64,
    /// Records refused.
    pub failed: u64,
    /// When the first one was refused with 401.
    pub first_401_at_seconds: Option<f64>,
}

/// The job that asked the vault.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VaultResult {
    /// Records it had to save.
    pub records: u64,
    /// Records saved.
    pub done: u64,
    /// Records refused, or not even tried for want of a token.
    pub failed: u64,
    /// Pairs the vault got after the first.
    pub renewals: u64,
    /// Different access tokens the job used.
    pub tokens_used: u64,
}

impl DemoReport {
    /// From how far the jobs came; `registered` is the generation of the vault's first pair.
    pub(super) fn on(records: u64, plain: &JobProgress, vaulted: &JobProgress, registered: u64) -> Self {
        let plain = PlainResult {
            records,
            done: plain.done,
            failed: plain.failed,
            first_401_at_seconds: plain.first_401.map(|after| (after.as_secs_f64() * 10.0).round() / 10.0),
        };
        let vault = VaultResult {
            records,
            done: vaulted.done,
            failed: vaulted.failed,
            renewals: vaulted.generation.unwrap_or(registered).saturating_sub(registered),
            tokens_used: vaulted.tokens_used,
        };
        let died = plain.done > 0 && plain.failed > 0 && plain.first_401_at_seconds.is_some();
        let finished = vault.done == records && vault.failed == 0;
        Self { plain, vault, ok: died && finished }
    }

    /// The closing table.
    pub fn table(&self) -> String {
        let after = |at: Option<f64>| at.map_or("-".to_owned(), |seconds| format!("{seconds:.1} s"));
        let rows = [
            ("", "plain token".to_owned(), "through the vault".to_owned()),
            ("records", self.plain.records.to_string(), self.vault.records.to_string()),
            ("saved", self.plain.done.to_string(), self.vault.done.to_string()),
            ("refused", self.plain.failed.to_string(), self.vault.failed.to_string()),
            ("first 401 after", after(self.plain.first_401_at_seconds), "-".to_owned()),
            ("access tokens used", "1".to_owned(), self.vault.tokens_used.to_string()),
            ("renewals by the vault", "-".to_owned(), self.vault.renewals.to_string()),
        ];
        rows.iter().fold(String::new(), |mut table, (name, plain, vault)| {
            writeln!(table, "  {name:<22}{plain:>14}{vault:>20}").expect("writing to a String cannot fail");
            table
        })
    }

    /// What it comes to, in a sentence.
    pub fn conclusion(&self, at_ttl: Duration) -> String {
        let life = at_ttl.as_secs();
        let plain = match self.plain.first_401_at_seconds {
            Some(after) => format!("The plain job died of 401 after {after:.1} s, as its token ended ({life} s)."),
            None => "The plain job met no 401: it did not outlive its token.".to_owned(),
        };
        let vault = match (self.vault.failed, self.vault.tokens_used) {
            (0, tokens) => format!("The job with the vault saved every record, with {tokens} access tokens."),
            (failed, _) => format!("The job with the vault lost {failed} records, which it must not."),
        };
        format!("{plain}\n{vault}")
    }
}
