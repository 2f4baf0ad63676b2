//! The end of a job at somebody's word: a module's that is done with it, or an operator's.
//!
//! Its tokens are erased at once. Where the vault has a session of its own, the reconciler revokes it; until that is done
//! the job is `releasing`, and nothing is served or renewed any more.

use tokenvault_core::ids::JobKey;
use tokenvault_core::policy::{DecisionInput, Round, Settings, Step, StepOutcome, apply};
use tokenvault_core::ports::{StoreError, Write, Written};
use tokenvault_core::record::{EndReason, Record, State};

use crate::journal::{Act, Actor, Entry};
use crate::services::Services;

/// A renewal may change the record between the look and the write; it cannot do so for ever.
const TRIES: u32 = 8;

/// An end that somebody asks for.
pub struct Ending<'a> {
    /// Of which job.
    pub key: &'a JobKey,
    /// Why.
    pub reason: EndReason,
    /// Who says so.
    pub actor: Actor,
    /// In which request, if that is known.
    pub request_id: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It ended now.
    Now,
    /// It had ended before.
    Before,
    /// There is no such job, or not for whoever asks.
    NotFound,
    /// It changed again and again.
    Busy,
}

/// Ends a job, if it is one that may be ended. Done twice it is done once.
pub async fn end(
    services: &Services,
    settings: &Settings,
    ending: Ending<'_>,
    may: impl Fn(&Record) -> bool,
) -> Result<Ended, StoreError> {
    if !services.clock.is_sure() {
        return Err(StoreError::Unavailable("its clock has not been heard yet"));
    }
    for _ in 0..TRIES {
        let stored = services.store.load(ending.key).await?.filter(|stored| may(&stored.record));
        let Some(before) = stored.map(|stored| stored.record) else { return Ok(Ended::NotFound) };
        if !before.state.is_live() {
            return Ok(Ended::Before);
        }
        let at = DecisionInput { now: services.clock.now(), roll: 0.0, settings };
        let round = Round::begin(before.clone());
        let after = apply(round, Step::Finish(ending.reason), StepOutcome::Noted, &at).record;
        let write = Write::between(&before, &after, services.attempt());
        match services.write(&write).await? {
            Written::Done | Written::AlreadyDone => {
                tell(services, ending, &before);
                services.update_share(&before, &after).await;
                match after.state {
                    State::Ended(_) => services.remove_from_indexes(&before).await,
                    _ => services.wake.due(),
                }
                return Ok(Ended::Now);
            }
            Written::Conflict | Written::Gone => {}
        }
    }
    Ok(Ended::Busy)
}

fn tell(services: &Services, ending: Ending<'_>, record: &Record) {
    let Ending { key, reason, actor, request_id } = ending;
    tracing::info!(tenant = %key.tenant, job = %key.job, reason = reason.code(), ?actor, "the job was ended");
    services.observer.ended(reason);
    let session = record.session.as_ref().map(|session| session.sid.clone());
    let entry = Entry::new(Act::End, actor, reason.code()).of(key).user(&record.user);
    services.journal.record(Entry { session, request_id, ..entry });
}
