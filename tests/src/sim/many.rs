//! Many seeds, on all cores: what came of all of them together does not depend on which was played first.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;

use serde::Serialize;

use super::dice::mix;
use super::{Losses, Options, Outcome, run};

/// What came of many seeds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Totals {
    /// Fault points passed.
    pub points: u64,
    /// Seeds played.
    pub seeds: u64,
    /// Jobs there were.
    pub jobs: u64,
    /// See [`Outcome`].
    pub excess_loss: u64,
    /// See [`Outcome`].
    pub lost: u64,
    /// See [`Outcome`].
    pub lost_by: Losses,
    /// See [`Outcome`].
    pub indistinct: u64,
    /// Jobs whose refresh tokens lost their key: see [`super::Outcome::keys_gone`].
    pub keys_gone: u64,
    /// See [`Outcome`].
    pub double_spends: u64,
    /// See [`Outcome`].
    pub expired_served: u64,
    /// See [`Outcome`].
    pub ui_sessions_killed: u64,
    /// See [`Outcome`].
    pub gaps: u64,
    /// See [`Outcome`].
    pub joins_lost: u64,
    /// See [`Outcome`].
    pub given_up: u64,
    /// See [`Outcome`].
    pub revived: u64,
    /// The hash of all traces, in order of the seeds.
    pub trace_hash: String,
    #[serde(skip)]
    hash: u64,
}

impl Totals {
    /// Adds the next seed's.
    pub fn add(&mut self, outcome: &Outcome) {
        self.points += outcome.points;
        self.seeds += 1;
        self.jobs += outcome.jobs;
        self.excess_loss += outcome.excess_loss;
        self.lost += outcome.lost;
        self.lost_by.add(outcome.lost_by);
        self.indistinct += outcome.indistinct;
        self.keys_gone += outcome.keys_gone;
        self.double_spends += outcome.double_spends;
        self.expired_served += outcome.expired_served;
        self.ui_sessions_killed += outcome.ui_sessions_killed;
        self.gaps += outcome.gaps;
        self.joins_lost += outcome.joins_lost;
        self.given_up += outcome.given_up;
        self.revived += outcome.revived;
        self.hash = mix(self.hash ^ mix(outcome.seed)) ^ outcome.trace_hash;
        self.trace_hash = format!("{:016x}", self.hash);
    }

    /// Whether nothing happened that must never be.
    pub fn is_good(&self) -> bool {
        self.lost_by.impersonate + self.excess_loss + self.double_spends + self.expired_served + self.ui_sessions_killed
            == 0
    }
}

/// A seed nobody has chosen.
pub fn fresh_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    // Readable, and far from where anybody would begin to count.
    RandomState::new().hash_one(()) % 1_000_000_000
}

/// Plays seeds from `first` on until they have passed so many points together. `heard` is called with each, in order.
pub fn play(first: u64, points: u64, options: &Options, mut heard: impl FnMut(&Outcome, &Totals)) -> Totals {
    let (next, enough) = (AtomicU64::new(first), AtomicBool::new(false));
    let mut totals = Totals::default();
    std::thread::scope(|scope| {
        let (played, outcomes) = channel();
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            let (played, next, enough) = (played.clone(), &next, &enough);
            scope.spawn(move || {
                while !enough.load(Ordering::SeqCst) {
                    let outcome = run(next.fetch_add(1, Ordering::SeqCst), options);
                    if played.send(outcome).is_err() {
                        return;
                    }
                }
            });
        }
        drop(played);
        let mut waiting = BTreeMap::new();
        let mut turn = first;
        for outcome in outcomes {
            waiting.insert(outcome.seed, outcome);
            // In order, and not one too many: which seeds were played depends on nothing but the points asked for.
            while let Some(outcome) = waiting.remove(&turn).filter(|_| totals.points < points) {
                totals.add(&outcome);
                heard(&outcome, &totals);
                turn += 1;
            }
            if totals.points >= points {
                enough.store(true, Ordering::SeqCst);
            }
        }
    });
    totals
}
