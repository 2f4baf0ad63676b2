//! Who joined which session's entry and who looked at it, in the order in which the store carried it out: what tells an
//! exchange that nothing could have held back from one that should have been.
//!
//! A renewal looks at the entry right before its exchange, in the same task. Only a join that the store carried out after that
//! look can be excused, or one that the store had lost again by then.

use std::collections::HashMap;

use tokenvault_core::ids::JobId;
use tokio::task::Id;

#[derive(Debug)]
struct Join {
    job: JobId,
    at: u64,
    turn: u64,
    /// When a rollback took it away.
    lost: Option<u64>,
}

/// Why an exchange could not be held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excuse {
    /// Somebody joined after the last look.
    JoinedInFlight,
    /// The store had lost the join before the last look.
    JoinLost,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Joins {
    turn: u64,
    joined: HashMap<String, Vec<Join>>,
    looked: HashMap<(Option<Id>, String), u64>,
}

impl Joins {
    fn next(&mut self) -> u64 {
        self.turn += 1;
        self.turn
    }

    /// A job joined a session's entry.
    pub fn join(&mut self, sid: &str, job: &JobId, at: u64) {
        let turn = self.next();
        self.joined.entry(sid.to_owned()).or_default().push(Join { job: job.clone(), at, turn, lost: None });
    }

    /// The running task was shown a session's entry.
    pub fn look(&mut self, sid: &str) {
        let turn = self.next();
        self.looked.insert((tokio::task::try_id(), sid.to_owned()), turn);
    }

    /// The store lost everything since then.
    pub fn roll_back(&mut self, then: u64) {
        let turn = self.next();
        for join in self.joined.values_mut().flatten().filter(|join| join.at >= then) {
            join.lost.get_or_insert(turn);
        }
    }

    /// When the running task last looked at a session's entry.
    pub fn last_look(&self, sid: &str) -> Option<u64> {
        self.looked.get(&(tokio::task::try_id(), sid.to_owned())).copied()
    }

    /// Whether an exchange for a job that was sent after a look could not be held back.
    pub fn excuse(&self, sid: &str, job: &JobId, look: u64) -> Option<Excuse> {
        let others = || self.joined.get(sid).into_iter().flatten().filter(|join| join.job != *job);
        if others().any(|join| join.turn > look) {
            return Some(Excuse::JoinedInFlight);
        }
        others().any(|join| join.lost.is_some_and(|lost| lost < look)).then_some(Excuse::JoinLost)
    }
}
