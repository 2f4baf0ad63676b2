//! The steps of a round: what each sends, and what must be true right before it is carried out.

use super::outcome::StepOutcome;
use crate::ids::AttemptId;
use crate::record::{EndReason, Slot};
use crate::time::Timestamp;

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

    /// What is sent to Keycloak for it; `None` for a step that only writes.
    pub fn request(self) -> Option<Request> {
        match self {
            Self::Probe(slot) => Some(Request::IntrospectRefreshToken(slot)),
            Self::Introspect(slot) => Some(Request::IntrospectAccessToken(slot)),
            Self::Exchange(slot) => Some(Request::Exchange(slot)),
            Self::Spend(slot) => Some(Request::Refresh(slot)),
            Self::Impersonate => Some(Request::Impersonate),
            Self::Revoke => Some(Request::Revoke(Slot::Current)),
            Self::Rest(_)
            | Self::Done
            | Self::Declare(_)
            | Self::NextSpare
            | Self::Doubt(_)
            | Self::DoubtStore
            | Self::Suspend
            | Self::Finish(_) => None,
        }
    }

    /// What must be true right before it is carried out, in the order in which it is to be looked at. Nothing is waited for
    /// between the last look and the request.
    pub fn requirements(self) -> &'static [Requirement] {
        use Requirement as R;
        match self {
            Self::Declare(_) => &[R::SpendPermit, R::Lease],
            Self::Spend(_) => &[R::HeldShutdown, R::Lease, R::TimelyIntent],
            Self::Exchange(_) => &[R::UnchangedPeers, R::ExchangePermission, R::Lease],
            Self::Impersonate | Self::Revoke => &[R::Lease],
            Self::Finish(EndReason::Expired) => &[R::NewestEnd],
            // A question harms nobody, and the store refuses what is written under an old lease.
            Self::Rest(_)
            | Self::Done
            | Self::Probe(_)
            | Self::Introspect(_)
            | Self::NextSpare
            | Self::Doubt(_)
            | Self::DoubtStore
            | Self::Suspend
            | Self::Finish(_) => &[],
        }
    }

    /// What comes of a step that sends nothing. An intent that is declared carries the attempt.
    pub fn unsent_outcome(self, attempt: impl FnOnce() -> AttemptId) -> StepOutcome {
        match self {
            Self::Declare(_) => StepOutcome::Declared(attempt()),
            _ => StepOutcome::Noted,
        }
    }
}

/// A request to Keycloak, and the slot whose token it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Request {
    /// Ask whether the refresh token is active. Changes nothing.
    IntrospectRefreshToken(Slot),
    /// Ask whether the access token is active. Changes nothing.
    IntrospectAccessToken(Slot),
    /// Exchange the access token (RFC 8693). Consumes nothing.
    Exchange(Slot),
    /// Send the refresh token (RFC 6749, section 6). Consumes it.
    Refresh(Slot),
    /// Open a session of the vault's own.
    Impersonate,
    /// Revoke the refresh token, and its client session with it (RFC 7009).
    Revoke(Slot),
}

impl Request {
    /// The slot whose token is sent; `None` where no token of the record is.
    pub fn slot(self) -> Option<Slot> {
        match self {
            Self::IntrospectRefreshToken(slot)
            | Self::IntrospectAccessToken(slot)
            | Self::Exchange(slot)
            | Self::Refresh(slot)
            | Self::Revoke(slot) => Some(slot),
            Self::Impersonate => None,
        }
    }
}

/// What must be true right before a step is carried out. Where one is not met, either the round has learnt something and
/// plans again, or it is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// A permit to spend in the client session is held. It is waited for before the intent is declared: the intent's deadline
    /// counts from the declaration, and what is left of it after the send is how long Keycloak may take. It is kept until what
    /// came of the spend is written ([`Obligations::returns_permit`](super::Obligations::returns_permit)).
    SpendPermit,
    /// A shutdown waits for what comes of the step: the answer may be the only live refresh token there is.
    HeldShutdown,
    /// The lease is the newest one, by the store and not only by this replica's clock: an old fence may not send. Not met: the
    /// round is given up.
    Lease,
    /// The declared intent leaves Keycloak enough time ([`intent_is_timely`](super::intent_is_timely)): at its deadline
    /// whoever finds it believes that nothing is under way any more. Not met: the round is given up.
    TimelyIntent,
    /// The entries of the record's client sessions say what they said before the slot was probed. Not met: somebody may have
    /// created the client session anew, and the round plans again without what the probe said.
    UnchangedPeers,
    /// This job may find out whether the client may exchange: after a refusal one job does, and the others wait. Not met: the
    /// round plans again without exchanges.
    ExchangePermission,
    /// Nobody has put off the job's end since the record was claimed. Not met: the round plans again with the new end.
    NewestEnd,
}
