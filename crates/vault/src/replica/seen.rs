//! How far each job was seen, so that a store that shows an older record is found out.

use std::collections::HashMap;

use parking_lot::RwLock;
use tokenvault_core::ids::{Generation, JobKey};
use tokenvault_core::record::{ReadView, Record};
use tokenvault_core::time::Timestamp;

/// What was seen is kept in so many parts, that readers do not wait for each other.
const PARTS: usize = 16;
/// So many jobs' generations are remembered in each; then it is begun anew.
const MOST_SEEN: usize = 100_000 / PARTS;

type ByJob = HashMap<JobKey, Progression>;

/// How far a job is: which of the jobs of its id it is, by when that one began, and at which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Progression(Timestamp, Generation);

impl Progression {
    /// How far a record is.
    pub fn of(record: &Record) -> Self {
        Self(record.created_at, record.generation)
    }

    /// The same of what a read sees of it.
    pub fn of_view(view: &ReadView) -> Self {
        Self(view.terms.created_at, view.generation)
    }
}

/// How far each job was seen here.
#[derive(Debug, Default)]
pub struct SeenGenerations {
    parts: [RwLock<ByJob>; PARTS],
}

impl SeenGenerations {
    /// Remembers how far a job is, unless it was seen further.
    pub fn note(&self, key: &JobKey, seen: Progression) {
        let part = self.part(key);
        // Most reads find what the one before them left.
        if part.read().get(key).is_some_and(|newest| *newest >= seen) {
            return;
        }
        let mut jobs = part.write();
        if jobs.len() >= MOST_SEEN {
            jobs.clear();
        }
        let newest = jobs.entry(key.clone()).or_insert(seen);
        *newest = seen.max(*newest);
    }

    /// How far a job was seen here, if that is further than this.
    pub fn further_than(&self, key: &JobKey, than: Progression) -> Option<Progression> {
        let seen = self.part(key).read().get(key).copied();
        seen.filter(|newest| *newest > than)
    }

    fn part(&self, key: &JobKey) -> &RwLock<ByJob> {
        let sum =
            key.job.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
        &self.parts[sum % PARTS]
    }
}
