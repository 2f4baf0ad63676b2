//! The counters of a storm.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::evidence::Evidence;
use super::orphans::Found;
use super::readers::{Stale, Tally};
use super::settle::{End, Ends};
use super::strike::Struck;
use super::{Acquisition, Fault, Options};

/// How long a signal may take to be sent, in seconds.
const SIGNALLED: f64 = 0.1;

/// What a storm cost; serialised as one line of JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How the jobs came by their pairs.
    pub acquisition: Acquisition,
    /// What went wrong.
    pub fault: Fault,
    /// Whether the naive renewer was at work.
    pub naive: bool,
    /// What all chance was drawn from.
    pub seed: u64,
    /// How long faults went on.
    pub seconds: u64,
    /// How many jobs there were.
    pub jobs: usize,
    /// Jobs that ended though nobody ended them, or that could no longer be read.
    pub lost: usize,
    /// Those of them whose only token was not in an answer that never reached a live process.
    pub excess_loss: usize,
    /// Refresh tokens sent again after they had been spent, by Keycloak's events.
    pub double_spends: usize,
    /// Access tokens past their `exp` when they arrived, but for those that lay in a stopped process.
    pub expired_served: usize,
    /// Sessions of users' that were gone afterwards.
    pub ui_sessions_killed: usize,
    /// Reads that failed at a second replica as well.
    pub errors_after_retry: u64,
    /// From a replica's end to the claim of its last record by another.
    pub orphan_pickup_seconds_max: f64,
    /// Reads.
    pub reads: u64,
    /// New pairs that were written.
    pub renewals: u64,
    /// SIGKILLs.
    pub kills: usize,
    /// Blows of every kind.
    pub blows: usize,
    /// Records that a dead or stopped replica had leased.
    pub orphans: usize,
    /// Reads that needed a second replica.
    pub retried: u64,
    /// Tokens of somebody else's.
    pub foreign_served: u64,
    /// Tokens that readers showed to Keycloak.
    pub sampled: u64,
    /// Those that it held to be inactive.
    pub inactive_served: u64,
    /// Access tokens that expired in an answer while the process that was about to send it stood still.
    pub expired_in_stopped: usize,
    /// Why jobs were lost.
    pub reasons: BTreeMap<String, usize>,
    /// What reads failed of.
    pub errors: BTreeMap<String, u64>,
    /// What refreshes Keycloak refused, in its own words.
    pub refusals: BTreeMap<String, usize>,
}

impl Report {
    /// Whether a promise was broken: what must be 0 for every acquisition, and for those that can lose nothing, every
    /// loss.
    pub fn is_broken(&self) -> bool {
        let lost = if self.acquisition == Acquisition::Adopt { self.excess_loss } else { self.lost };
        let served = self.foreign_served + self.inactive_served;
        lost + self.double_spends + self.ui_sessions_killed + self.expired_served > 0 || served > 0
    }
}

/// Draws it up.
pub fn make(
    options: &Options,
    ends: &Ends,
    tally: &Tally,
    orphans: &Found,
    evidence: &Evidence,
    struck: &Struck,
) -> Report {
    let mut reasons = BTreeMap::new();
    for end in &ends.of {
        let reason = match end {
            End::Lives => continue,
            End::Ended(reason) => reason.clone(),
            End::Mute(why) => format!("unreadable: {why}"),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    let lost = reasons.values().sum::<usize>();
    let stale = tally.stale();
    let expired = stale.iter().filter(|stale| !lay_in_stopped(stale, struck)).count();
    Report {
        acquisition: options.acquisition,
        fault: options.fault,
        naive: options.naive,
        seed: options.seed,
        seconds: options.seconds,
        jobs: ends.of.len(),
        lost,
        excess_loss: lost - evidence.unavoidable.min(lost),
        double_spends: evidence.double_spends,
        expired_served: expired,
        ui_sessions_killed: evidence.sessions_killed,
        errors_after_retry: tally.failed(),
        orphan_pickup_seconds_max: (orphans.longest.as_secs_f64() * 100.0).round() / 100.0,
        reads: tally.reads(),
        renewals: ends.renewals,
        kills: struck.kills,
        blows: struck.blows,
        orphans: orphans.orphans,
        retried: tally.retried.load(Ordering::Relaxed),
        foreign_served: tally.foreign.load(Ordering::Relaxed),
        sampled: tally.sampled.load(Ordering::Relaxed),
        inactive_served: tally.inactive.load(Ordering::Relaxed),
        expired_in_stopped: stale.len() - expired,
        reasons,
        errors: tally.failures(),
        refusals: evidence.refusals.clone(),
    }
}

/// Whether the read was under way when its replica was stopped, and the token still good then. What a process has decided
/// and not yet sent grows old with it; nobody inside can help that.
fn lay_in_stopped(stale: &Stale, struck: &Struck) -> bool {
    let mut stops = struck.stopped.iter().filter(|(replica, ..)| *replica == stale.replica);
    stops.any(|(_, from, to)| {
        stale.asked <= *from + SIGNALLED && stale.expires > *from && stale.arrived + SIGNALLED >= *to
    })
}
