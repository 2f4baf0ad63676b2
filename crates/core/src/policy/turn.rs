//! `conclude`: what a step has come to, as a value that is written and followed up.

use std::time::Duration;

use super::apply::apply;
use super::input::DecisionInput;
use super::obligation::{Durability, Obligations};
use super::outcome::StepOutcome;
use super::plan::plan;
use super::round::Round;
use super::step::Step;
use crate::record::{EndReason, Record, SessionRef, State, Suspension};
use crate::time::Timestamp;

/// One step that was carried out: what is to be written, and what follows from the write.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The step.
    pub step: Step,
    /// How it went; `None` where nothing was sent.
    pub code: Option<&'static str>,
    /// The record before it.
    pub before: Record,
    /// The record after it, and what is known by now.
    pub round: Round,
    /// What is owed beside the write.
    pub owed: Obligations,
    rests: bool,
}

/// What became of a job in a turn, for those who watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobEvent {
    /// It has a new pair.
    Renewed,
    /// Keycloak said for the first time that its session is over.
    DoubtBegun,
    /// Its session lives after all.
    DoubtLifted,
    /// Every answer was no for long enough, or a logout token made the first no the last.
    DoubtConfirmed,
    /// It was suspended.
    Suspended(Suspension),
    /// It goes on after a suspension.
    Resumed,
    /// It ended.
    Ended(EndReason),
}

/// Applies an outcome. Where nothing comes after the step but a rest, the rest is in the same write, and the lease goes back
/// with it. The answer to a spend is written by itself: it may be written under nobody's lease, and so it gives none back.
#[must_use]
pub fn conclude(round: Round, step: Step, outcome: StepOutcome, at: &DecisionInput<'_>) -> Turn {
    let (before, code, owed) = (round.record.clone(), outcome.code(), step.obligations(&outcome));
    let mut round = apply(round, step, outcome, at);
    let mut rests = matches!(step, Step::Rest(_));
    if owed.durability != Durability::SpendAnswer
        && let rest @ Step::Rest(_) = plan(&round, at)
    {
        round = apply(round, rest, StepOutcome::Noted, at);
        rests = true;
    }
    Turn { step, code, before, round, owed, rests }
}

impl Turn {
    /// The record after the turn.
    pub fn after(&self) -> &Record {
        &self.round.record
    }

    /// Whether there is anything to write.
    pub fn is_written(&self) -> bool {
        self.rests || self.before != *self.after()
    }

    /// Whether the lease goes back with the write.
    pub fn releases_lease(&self) -> bool {
        self.rests || self.has_ended()
    }

    /// Whether the terms of the record must be sealed anew before they are written.
    pub fn changes_account(&self) -> bool {
        self.before.account != self.after().account
    }

    /// Whether the round is over with it.
    pub fn is_last(&self) -> bool {
        self.rests || self.has_ended()
    }

    /// The end that has begun with this turn, or that was completed by it.
    pub fn ending(&self) -> Option<EndReason> {
        match (self.before.state, self.after().state) {
            (State::Ended(_), _) => None,
            (_, State::Ended(reason)) => Some(reason),
            (before, State::Releasing(reason)) if before.is_live() => Some(reason),
            _ => None,
        }
    }

    /// Whether the record is a tombstone by now, and leaves the indexes that gather jobs.
    pub fn has_ended(&self) -> bool {
        matches!(self.after().state, State::Ended(_))
    }

    /// The client session that is over while the user's session is not: whoever still has a token of its life must not
    /// exchange it. [`EndReason::SessionLost`] is a guess, and of an adopted chain a wrong one as soon as its other holder
    /// rotates it.
    pub fn superseded_session(&self) -> Option<&SessionRef> {
        let over =
            matches!(self.ending()?, EndReason::ClientSessionGone | EndReason::TokenReused | EndReason::TokenStale);
        self.before.session.as_ref().filter(|_| over)
    }

    /// What became of the job, in the order in which it is told.
    pub fn events(&self) -> impl Iterator<Item = JobEvent> + use<> {
        let (before, after) = (&self.before, self.after());
        let renewed = (before.generation != after.generation).then_some(JobEvent::Renewed);
        let doubt = match (&before.doubt, &after.doubt) {
            (None, Some(_)) => Some(JobEvent::DoubtBegun),
            (Some(_), None) if after.state.is_live() => Some(JobEvent::DoubtLifted),
            (Some(_), None) => Some(JobEvent::DoubtConfirmed),
            _ => None,
        };
        let state = match (before.state, after.state) {
            (State::Active, State::Suspended(why)) => Some(JobEvent::Suspended(why)),
            (State::Suspended(_), State::Active) => Some(JobEvent::Resumed),
            (live, _) if live.is_live() => self.ending().map(JobEvent::Ended),
            _ => None,
        };
        [renewed, doubt, state].into_iter().flatten()
    }
}

/// Whether a declared intent leaves a request that is sent now so much time before its deadline.
pub fn intent_is_timely(record: &Record, now: Timestamp, time_to_answer: Duration) -> bool {
    record.intent.is_some_and(|intent| now + time_to_answer <= intent.deadline)
}
