//! `compare`: what becomes of the answer to a spend that is held in memory, seeing what the store has.
//!
//! A store may lose writes that it has acknowledged, and others may have given the job up before the answer could be
//! written. What somebody decided is never undone: a job that was released, revoked or registered anew stays as it is.

use crate::ids::Generation;
use crate::record::{EndReason, Record, State};
use crate::time::Timestamp;

/// What is to be done about a held record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The store has it.
    Stored,
    /// Something newer, or somebody's decision, stands there: it is held no longer.
    Superseded,
    /// The store has gone back: write it again.
    Lost,
    /// The job was given up for lost at this generation, or its record is gone altogether: put it back.
    GivenUp(Option<Generation>),
}

/// Compares a held record with the one in the store.
pub fn compare(held: &Record, stored: Option<&Record>, now: Timestamp) -> Comparison {
    let Some(stored) = stored else {
        return if now < held.expires_at { Comparison::GivenUp(None) } else { Comparison::Superseded };
    };
    let same_job = stored.created_at == held.created_at && stored.subject == held.subject && stored.user == held.user;
    let elsewhere = stored.generation == held.generation && stored.session != held.session;
    if !same_job || stored.generation > held.generation || elsewhere {
        return Comparison::Superseded;
    }
    match stored.state {
        State::Ended(EndReason::SpendLost | EndReason::SessionLost | EndReason::SessionRecreated)
            if stored.generation < held.generation =>
        {
            Comparison::GivenUp(Some(stored.generation))
        }
        State::Ended(_) | State::Releasing(_) => Comparison::Superseded,
        _ if stored.generation < held.generation => Comparison::Lost,
        _ => Comparison::Stored,
    }
}
