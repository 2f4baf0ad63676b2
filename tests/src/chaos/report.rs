//! The counters of a storm.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::evidence::Evidence;
use super::orphans::{Found, percentile};
use super::readers::{Stale, Tally};
use super::settle::{End, Ends};
use super::strike::{Hits, Struck};
use super::{Acquisition, Fault, Options, REPLICAS};

/// How long a signal may take to be sent, in seconds.
const SIGNALLED: f64 = 0.1;

/// What a storm cost; serialised as one line of JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How the jobs came by their pairs: one way, or several with a comma in between.
    pub acquisition: String,
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
    /// Those of them that could have been helped, for all that is known: neither `never_answered` nor `died_holding`.
    pub excess_loss: usize,
    /// Those of them whose only token was in an answer that never reached a live process.
    pub never_answered: usize,
    /// Those of them whose only token reached a process that was killed before it could write.
    pub died_holding: usize,
    /// The longest that such a process had the token, in milliseconds.
    pub died_holding_ms_max: u64,
    /// Refresh tokens sent again after they had been spent, by Keycloak's events.
    pub double_spends: usize,
    /// Access tokens past their `exp` when they arrived, but for those that lay in a stopped process.
    pub expired_served: usize,
    /// Sessions of users' that were gone afterwards.
    pub ui_sessions_killed: usize,
    /// Reads that failed at a second replica as well.
    pub errors_after_retry: u64,
    /// Those of them that this kind of fault does not explain.
    pub errors_unexplained: u64,
    /// From a replica's end to the claim of a record it had leased by another: half of them, at most.
    pub orphan_pickup_seconds_p50: f64,
    /// The same, 99 of 100.
    pub orphan_pickup_seconds_p99: f64,
    /// The same, all.
    pub orphan_pickup_seconds_max: f64,
    /// The same, 99 of 100, counted in looks at the store, ten a second where the machine has the time.
    pub orphan_pickup_looks_p99: u32,
    /// The same, all.
    pub orphan_pickup_looks_max: u32,
    /// Reads.
    pub reads: u64,
    /// New pairs that were written.
    pub renewals: u64,
    /// New pairs that each replica came by.
    pub renewals_by_replica: [u64; REPLICAS],
    /// Renewals that were given up, since another replica had taken the record over.
    pub leases_lost: usize,
    /// Answers to spends that a process had waiting for it when it went on after a stop.
    pub held_in_stopped: usize,
    /// SIGKILLs.
    pub kills: usize,
    /// Blows of every kind.
    pub blows: usize,
    /// What of them hit something.
    pub struck: Hits,
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
    /// Whether a promise was broken. Of jobs that were not adopted every loss is in excess.
    pub fn is_broken(&self) -> bool {
        let served = self.foreign_served + self.inactive_served;
        self.excess_loss + self.double_spends + self.ui_sessions_killed + self.expired_served > 0 || served > 0
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
    let helpless = (evidence.never_answered + evidence.died_holding).min(lost);
    let (seconds, looks) = (&orphans.seconds, &orphans.looks);
    let failures = tally.failures();
    let unexplained = failures.iter().filter(|(why, _)| !explains(options, why));
    let expired = stale.iter().filter(|stale| !lay_in_stopped(stale, struck)).count();
    Report {
        acquisition: options.acquisitions.iter().map(|way| way.word()).collect::<Vec<_>>().join(","),
        fault: options.fault,
        naive: options.naive,
        seed: options.seed,
        seconds: options.seconds,
        jobs: ends.of.len(),
        lost,
        excess_loss: lost - helpless,
        never_answered: evidence.never_answered,
        died_holding: evidence.died_holding,
        died_holding_ms_max: evidence.died_holding_ms_max,
        double_spends: evidence.double_spends,
        expired_served: expired,
        ui_sessions_killed: evidence.sessions_killed,
        errors_after_retry: tally.failed(),
        errors_unexplained: unexplained.map(|(_, times)| times).sum(),
        orphan_pickup_seconds_p50: hundredths(percentile(seconds, 50)),
        orphan_pickup_seconds_p99: hundredths(percentile(seconds, 99)),
        orphan_pickup_seconds_max: hundredths(percentile(seconds, 100)),
        orphan_pickup_looks_p99: percentile(looks, 99),
        orphan_pickup_looks_max: percentile(looks, 100),
        reads: tally.reads(),
        renewals: ends.renewals,
        renewals_by_replica: evidence.told.renewals,
        leases_lost: evidence.told.leases_lost,
        held_in_stopped: evidence.held_in_stopped,
        kills: struck.kills,
        blows: struck.blows,
        struck: struck.hits,
        orphans: orphans.looks.len(),
        retried: tally.retried.load(Ordering::Relaxed),
        foreign_served: tally.foreign.load(Ordering::Relaxed),
        sampled: tally.sampled.load(Ordering::Relaxed),
        inactive_served: tally.inactive.load(Ordering::Relaxed),
        expired_in_stopped: stale.len() - expired,
        reasons,
        errors: failures,
        refusals: evidence.refusals.clone(),
    }
}

/// Whether the read was under way when its replica was stopped, and the token still good then. What a process has decided
/// and not yet sent grows old with it; nobody inside can help that.
fn lay_in_stopped(stale: &Stale, struck: &Struck) -> bool {
    let mut stops = struck.stopped.iter().filter(|stop| stop.replica == stale.replica);
    stops.any(|stop| {
        let (from, until) = (stop.from, stop.until);
        stale.asked <= from + SIGNALLED && stale.expires > from && stale.arrived + SIGNALLED >= until
    })
}

/// Whether such faults are the cause of such a failure, at two replicas in a row.
fn explains(options: &Options, why: &str) -> bool {
    let of = |faults: &[Fault]| faults.contains(&options.fault) || options.fault == Fault::All;
    match why {
        // Cut off with the replica, or nobody listens yet.
        "connection" => of(&[Fault::Kill, Fault::Stop]),
        // A stopped process holds its connections and says nothing.
        "timeout" => of(&[Fault::Stop]),
        // The store is away; or the replica has just started and not heard the store's clock yet; or it went on after a stop
        // and found that its calls of the store had taken too long.
        "503 store_unavailable" => of(&[Fault::Kill, Fault::Stop, Fault::Proxy, Fault::Redis]),
        // The token died while nobody could renew it: an adopted job waits for its quarantine, another one for Keycloak, the
        // store or a replica that went on.
        "503 token_not_ready" => options.has(Acquisition::Adopt) || options.fault != Fault::Kill,
        _ => false,
    }
}

fn hundredths(seconds: f64) -> f64 {
    (seconds * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_is_explained_by_what_was_done_and_by_nothing_else() {
        let storm = |acquisition, fault| Options::new(&[acquisition], fault, 1, 1);
        let (exchange, adopt) = (Acquisition::Exchange, Acquisition::Adopt);
        assert!(explains(&storm(exchange, Fault::Kill), "connection"));
        assert!(!explains(&storm(exchange, Fault::Redis), "connection"), "nobody hurts a replica");
        assert!(!explains(&storm(exchange, Fault::Kill), "503 token_not_ready"), "it can be exchanged again");
        assert!(explains(&storm(adopt, Fault::Kill), "503 token_not_ready"));
        assert!(explains(&storm(exchange, Fault::Keycloak), "503 token_not_ready"));
        assert!(!explains(&storm(exchange, Fault::Keycloak), "503 store_unavailable"));
        assert!(!explains(&storm(adopt, Fault::All), "500 internal"));
    }
}
