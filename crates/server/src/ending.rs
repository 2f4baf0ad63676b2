//! The end of a job at somebody's word: a module's that is done with it, or an operator's.
//!
//! Its tokens are erased at once. Where the vault has a session of its own, the reconciler revokes it; until that is done
//! the job is `releasing`, and nothing is served or renewed any more.

use tokenvault_core::ids::JobKey;
use tokenvault_core::policy::{Moment, Outcome, Progress, Settings, Step, apply};
use tokenvault_core::ports::{StoreError, Write, Written};
use tokenvault_core::record::{EndReason, Record, State};

use crate::parts::Parts;

/// A renewal may change the record between the look and the write; it cannot do so for ever.
const TRIES: u32 = 8;

/// What became of it.
#[derive(Debug)]
pub(crate) enum Ended {
    /// It ended now; this is what it was.
    Now(Box<Record>),
    /// It had ended before.
    Before,
    /// There is no such job, or not for whoever asks.
    NotFound,
    /// It changed again and again.
    Busy,
}

/// Ends a job, if it is one that may be ended. Done twice it is done once.
pub(crate) async fn end(
    parts: &Parts,
    settings: &Settings,
    key: &JobKey,
    reason: EndReason,
    may: impl Fn(&Record) -> bool,
) -> Result<Ended, StoreError> {
    if !parts.clock.is_sure() {
        return Err(StoreError::Unavailable("its clock has not been heard yet"));
    }
    for _ in 0..TRIES {
        let stored = parts.store.load(key).await?.filter(|stored| may(&stored.record));
        let Some(stored) = stored else { return Ok(Ended::NotFound) };
        if !stored.record.state.is_live() {
            return Ok(Ended::Before);
        }
        let before = stored.record;
        let at = Moment { now: parts.clock.now(), roll: 0.0, settings };
        let progress = Progress::begin(before.clone(), None);
        let after = apply(progress, Step::Finish(reason), Outcome::Noted, &at).record;
        let write = Write::between(&before, &after, parts.attempt());
        match parts.write(&write).await? {
            Written::Done | Written::AlreadyDone => {
                parts.observer.ended(reason);
                match after.state {
                    State::Ended(_) => parts.retire(&before).await,
                    _ => parts.wake.due(),
                }
                return Ok(Ended::Now(Box::new(before)));
            }
            Written::Conflict | Written::Gone => {}
        }
    }
    Ok(Ended::Busy)
}
