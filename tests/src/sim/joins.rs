//! Who joined which session's entry and who looked at it, in the order in which the store carried it out: what tells an
//! exchange that nothing could have held back from one that should have been.
//!
//! A renewal looks at the entry right before its exchange, in the same task. Where it could see by then that somebody was
//! joining, nothing is excused, whoever else came after. Else a join is, that the store carried out after that look, and
//! one that the store had lost again by then.

use std::collections::HashMap;
use std::time::Duration;

use tokenvault_core::ids::JobId;
use tokenvault_core::ports::SessionEntry;
use tokenvault_core::time::Timestamp;
use tokio::task::Id;

/// A registration that has been joining for less than this is waited for by every replica: the reconciler waits for 30 s,
/// and by the clock of a replica that may be a little ahead.
const CERTAINLY_JOINING: Duration = Duration::from_secs(25);

#[derive(Debug)]
struct Join {
    job: JobId,
    at: u64,
    turn: u64,
    /// When a rollback took it away.
    lost: Option<u64>,
}

/// Somebody's look at an entry.
#[derive(Debug, Clone)]
pub struct Look {
    turn: u64,
    /// Who was joining just then, and had not been for so long that they are taken to have vanished.
    joining: Vec<JobId>,
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
    looked: HashMap<(Option<Id>, String), Look>,
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

    /// The running task looked at a session's entry, as it truly was.
    pub fn look(&mut self, sid: &str, entry: Option<&SessionEntry>, now: Timestamp) {
        let turn = self.next();
        let fresh = |since: Timestamp| now < since + CERTAINLY_JOINING;
        let joining = entry.iter().flat_map(|entry| &entry.joining).filter(|(_, since)| fresh(**since));
        let joining = joining.map(|(job, _)| job.clone()).collect();
        self.looked.insert((tokio::task::try_id(), sid.to_owned()), Look { turn, joining });
    }

    /// The store lost everything since then.
    pub fn roll_back(&mut self, then: u64) {
        let turn = self.next();
        for join in self.joined.values_mut().flatten().filter(|join| join.at >= then) {
            join.lost.get_or_insert(turn);
        }
    }

    /// When the running task last looked at a session's entry.
    pub fn last_look(&self, sid: &str) -> Option<Look> {
        self.looked.get(&(tokio::task::try_id(), sid.to_owned())).cloned()
    }

    /// Whether an exchange for a job that was sent after a look could not be held back.
    pub fn excuse(&self, sid: &str, job: &JobId, look: &Look) -> Option<Excuse> {
        if look.joining.iter().any(|other| other != job) {
            return None;
        }
        let others = || self.joined.get(sid).into_iter().flatten().filter(|join| join.job != *job);
        if others().any(|join| join.turn > look.turn) {
            return Some(Excuse::JoinedInFlight);
        }
        others().any(|join| join.lost.is_some_and(|lost| lost < look.turn)).then_some(Excuse::JoinLost)
    }
}
