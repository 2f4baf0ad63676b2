//! The decisions: pure functions from what is known to what is to be done.
//!
//! [`plan`] looks at a record and says the next [`Step`]; somebody carries the step out; [`apply`] turns its
//! [`Outcome`] into the record that is to be written. Neither ever sees a token: what was issued arrives sealed.
//! [`serve`] decides what a read is answered.
//!
//! The rule everything here serves: *never spend what cannot be replaced.*
//!
//! 1. While the access token lives and the client may, the next pair is come by through an **exchange** of the vault's
//!    own access token. That consumes nothing; the previous refresh token stays unspent and is kept as the spare. The
//!    newest refresh token is probed first: an exchange with a token from an earlier life of the client session would
//!    end the user's whole session.
//! 2. Otherwise the refresh token is **spent**: probed, declared by an intent in the store, sent once.
//! 3. If the answer is lost, the token is never sent again blindly. The spare is used, and after it those in reserve;
//!    without one, the intent's deadline is waited out and the probe decides: still active means it was never spent.
//! 4. A refresh token that is found dead is not the pair's end while the access token lives: that one is asked about, which
//!    is harmless, and exchanged where it is active.
//! 5. Keycloak's *no* is not believed at once: a cluster that lost a node, a restart or a proxy says so of sessions that
//!    live. Tokens are given up only after every answer was no for [`Settings::doubt`]; until then nothing is exchanged or
//!    spent. A signed logout token makes the first no the last.
//! 6. A session that somebody else ended is not undone by acquiring again. A refresh token that is found dead is sent to
//!    learn why only where it cannot have been spent: a store that lost the write of a spend shows the spent token as
//!    never sent. So either the store has lived on unbroken since it wrote the pair, or there was no reason to spend it.
//! 7. Only Keycloak's known words end a job. A refusal in other words, and an answer that names no user, can be somebody's
//!    mistake that is mended in minutes: the job keeps what it has and waits.

mod apply;
mod doubt;
mod plan;
mod serve;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use apply::{apply, schedule, urgency};
pub use doubt::logging_out;
pub use plan::plan;
pub use serve::{Ask, Serve, least_left, serve};

use crate::ids::{AccountId, AttemptId, Incarnation, StoreEpoch};
use crate::ports::{CallError, GrantError, Identity};
use crate::record::{EndReason, Pair, Record, SessionRef, Slot};
use crate::time::Timestamp;

/// How records are renewed; a tenant's settings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The part of a token's life after which it is renewed.
    pub fraction: f64,
    /// The part of that time by which it is varied in both directions, so that jobs registered together drift apart.
    pub jitter: f64,
    /// How long a request may still be at work in Keycloak after it was sent: at least 30 s in production (a refresh in
    /// a busy client session was seen to take 6 s).
    pub quarantine: Duration,
    /// The first delay after a failure; doubles with each further one.
    pub retry_min: Duration,
    /// The longest delay after a failure.
    pub retry_max: Duration,
    /// How long a tombstone stays.
    pub tombstone_ttl: Duration,
    /// The realm's `refreshTokenMaxReuse`.
    pub max_reuse: u32,
    /// Whether the client may exchange its own access token, as far as is known.
    pub may_exchange: bool,
    /// How long a session is believed to live without being asked about.
    pub probe_interval: Duration,
    /// For how long every answer must be no before a session is believed to be over.
    pub doubt: Duration,
    /// The pause between two questions meanwhile.
    pub doubt_pause: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            fraction: 0.5,
            jitter: 0.1,
            quarantine: Duration::from_secs(30),
            retry_min: Duration::from_millis(250),
            retry_max: Duration::from_secs(10),
            tombstone_ttl: Duration::from_hours(24),
            max_reuse: 0,
            may_exchange: true,
            probe_interval: Duration::from_mins(5),
            doubt: Duration::from_secs(75),
            doubt_pause: Duration::from_secs(5),
        }
    }
}

/// The moment of a decision: everything that is not in the record.
#[derive(Debug, Clone, Copy)]
pub struct Moment<'a> {
    /// Now.
    pub now: Timestamp,
    /// A random number in `0.0..1.0`, for jitter.
    pub roll: f64,
    /// The tenant's settings.
    pub settings: &'a Settings,
}

/// What was found out since the record was claimed. Forgotten with the lease: the next claim finds out anew.
#[derive(Debug, Clone, Default, PartialEq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent findings, not the stages of one state")]
pub struct Round {
    current: Option<bool>,
    spare: Option<bool>,
    anchor: Option<bool>,
    /// Whether the access token of the pair is active.
    access: Option<bool>,
    /// The same of the anchor's.
    anchor_access: Option<bool>,
    /// Whether an access token that is active was refused as the subject of an exchange all the same.
    subject_refused: bool,
    /// A refresh token was refused, and its session is said to be over for this reason.
    refused: Option<(Slot, EndReason)>,
    /// When the first no of this round was heard.
    no_at: Option<Timestamp>,
    /// Whether this round's no has been counted.
    doubted: bool,
    declared: Option<AttemptId>,
    verdict: Option<EndReason>,
    rest_until: Option<Timestamp>,
    exchange_barred: bool,
    anchored: bool,
    revoked: bool,
    lost_spend: bool,
    /// How many tokens of the reserve took the spare's place.
    taken: usize,
    /// The life the client session is in by now, as the session's entry says.
    pub incarnation: Option<Incarnation>,
    /// The same of the anchor's client session.
    pub anchor_incarnation: Option<Incarnation>,
    /// The life the store is in, asked for after the refresh token was found dead.
    pub epoch: Option<StoreEpoch>,
    /// Whether another job is just joining the client session of the pair: its exchange may create that session anew, and an
    /// exchange of this job's, arriving after it, would end the user's session.
    pub joining: bool,
    /// The same of the anchor's client session.
    pub anchor_joining: bool,
}

impl Round {
    fn probed(&self, slot: Slot) -> Option<bool> {
        match slot {
            Slot::Current => self.current,
            Slot::Spare => self.spare,
            Slot::Anchor => self.anchor,
        }
    }

    /// What was found out about a slot no longer holds: its client session's entry has changed.
    pub fn look_again(&mut self, slot: Slot) {
        self.note_probe(slot, None);
        self.note_access(slot, None);
    }

    fn accessed(&self, slot: Slot) -> Option<bool> {
        if slot == Slot::Anchor { self.anchor_access } else { self.access }
    }

    fn note_access(&mut self, slot: Slot, active: Option<bool>) {
        match slot {
            Slot::Anchor => self.anchor_access = active,
            Slot::Current | Slot::Spare => self.access = active,
        }
    }

    fn note_probe(&mut self, slot: Slot, active: Option<bool>) {
        match slot {
            Slot::Current => self.current = active,
            Slot::Spare => self.spare = active,
            Slot::Anchor => self.anchor = active,
        }
    }
}

/// A record and what was found out about it in this round.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Progress {
    /// The record.
    pub record: Record,
    /// What this round has found out.
    pub round: Round,
}

impl Progress {
    /// The start of a round.
    pub fn begin(record: Record, incarnation: Option<Incarnation>) -> Self {
        Self { record, round: Round { incarnation, ..Round::default() } }
    }
}

/// What to do next with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Nothing until then: give the lease back.
    Rest(Timestamp),
    /// Nothing ever again.
    Done,
    /// Ask whether the refresh token of a slot is active.
    Probe(Slot),
    /// Ask whether the access token of a slot is active, for its refresh token is not.
    Introspect(Slot),
    /// Exchange the access token that belongs to a slot for the next pair.
    Exchange(Slot),
    /// Write the intent to spend a slot's refresh token.
    Declare(Slot),
    /// Send a slot's refresh token, as declared.
    Spend(Slot),
    /// Put the next token of the reserve in the spare's place.
    NextSpare,
    /// Count one more answer that says that the session of a slot is over.
    Doubt(Slot),
    /// Note since when the refresh token has been dead while the store may have lost a newer pair.
    DoubtStore,
    /// Stop for now: the session is dead, and why cannot be learnt.
    Suspend,
    /// Come by a new session of the vault's own.
    Impersonate,
    /// Revoke the vault's own session.
    Revoke,
    /// End the job.
    Finish(EndReason),
}

impl Step {
    /// The stable code, for metrics and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Rest(_) => "rest",
            Self::Done => "done",
            Self::Probe(_) => "probe",
            Self::Introspect(_) => "introspect",
            Self::Exchange(_) => "exchange",
            Self::Declare(_) => "declare",
            Self::Spend(_) => "spend",
            Self::NextSpare => "next_spare",
            Self::Doubt(_) => "doubt",
            Self::DoubtStore => "doubt_store",
            Self::Suspend => "suspend",
            Self::Impersonate => "impersonate",
            Self::Revoke => "revoke",
            Self::Finish(_) => "finish",
        }
    }
}

/// A pair that was just issued, sealed for the record's next generation.
#[derive(Debug, Clone, PartialEq, Hash)]
pub struct Issued {
    /// The pair.
    pub pair: Pair,
    /// The access token's life as answered (`expires_in`).
    pub expires_in: Duration,
    /// Whether it is still the user's of the proof.
    pub identity: Identity,
    /// The identity provider's own id of the user, where the answer says it in a session that was known before.
    pub account: Option<AccountId>,
    /// The session, where it is a new one.
    pub session: Option<SessionRef>,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Hash)]
pub enum Outcome {
    /// Of [`Step::Rest`], [`Step::NextSpare`], [`Step::Doubt`], [`Step::DoubtStore`], [`Step::Suspend`] and
    /// [`Step::Finish`], which only write.
    Noted,
    /// Of [`Step::Probe`] and [`Step::Introspect`].
    Probed(Result<bool, CallError>),
    /// Of [`Step::Exchange`], [`Step::Spend`] or [`Step::Impersonate`]: a pair.
    Issued(Box<Issued>),
    /// Of the same: none.
    Failed(GrantError),
    /// Of [`Step::Declare`]: the attempt the intent is to carry.
    Declared(AttemptId),
    /// Of [`Step::Revoke`].
    Revoked(Result<(), CallError>),
}
