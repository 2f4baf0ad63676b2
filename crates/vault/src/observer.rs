//! What the vault tells of itself while it works; the metrics are made of it.

use std::time::Duration;

use tokenvault_core::ports::Census;
use tokenvault_core::record::{EndReason, Suspension};
use tokenvault_core::seal::SealError;

/// What became of a doubt about the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoubtOutcome {
    /// Keycloak said for the first time that it is over.
    Begun,
    /// It lives.
    Lifted,
    /// Every answer was no for long enough, or a logout token made the first no the last.
    Confirmed,
}

impl DoubtOutcome {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Begun, Self::Lifted, Self::Confirmed];

    /// The label in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Lifted => "lifted",
            Self::Confirmed => "confirmed",
        }
    }
}

/// Hears what happens, for metrics. Every method does nothing unless it is overridden.
pub trait Observer: Send + Sync {
    /// A step of a renewal was carried out: [`Step::code`](tokenvault_core::policy::Step::code) and how it went.
    fn renewal_step(&self, _step: &'static str, _outcome: &'static str, _took: Duration) {}
    /// A claimed record had been due for this long.
    fn renewal_lag(&self, _lag: Duration) {}
    /// A job ended.
    fn ended(&self, _reason: EndReason) {}
    /// The answer to a spend was lost.
    fn ambiguous_spend(&self) {}
    /// What became of a doubt about the end of a session.
    fn doubt(&self, _outcome: DoubtOutcome) {}
    /// A job was suspended.
    fn suspended(&self, _why: Suspension) {}
    /// The store has a record at an older generation than was seen before.
    fn rolled_back(&self) {}
    /// A lease was found to be held by somebody else.
    fn lease_lost(&self) {}
    /// Something sealed did not open.
    fn seal_failure(&self, _error: SealError) {}
    /// A read was answered: `token`, `not_modified` or a problem's code, and the life of the token.
    fn read(&self, _outcome: &'static str, _took: Duration, _ttl: Option<Duration>) {}
    /// The reconciler has been through all shards.
    fn reconciled(&self) {}
    /// An access token of so many bytes was granted to the vault.
    fn granted(&self, _bytes: usize) {}
    /// The jobs were counted, by this replica or another.
    fn jobs_counted(&self, _census: &Census) {}
    /// Whether renewal is paused.
    fn paused(&self, _paused: bool) {}
    /// Whether the store answers and takes no writes.
    fn store_refuses_writes(&self, _refuses: bool) {}
    /// Whether the keyring's file cannot be used as it is now.
    fn keyring_refused(&self, _refused: bool) {}
    /// The keys of the ring in force, each with whether it is not the one of its id.
    fn keys_judged(&self, _keys: &[(&str, bool)]) {}
}

/// An observer that does not listen.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}
