//! What came of a step.

use std::time::Duration;

use crate::ids::{AccountId, AttemptId};
use crate::ports::{CallError, GrantError, Identity, Refusal};
use crate::record::{Pair, SessionRef};

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
pub enum StepOutcome {
    /// Of a step that sends nothing and only writes.
    Noted,
    /// Of a probe or an introspection: whether the token is active.
    Probed(Result<bool, CallError>),
    /// Of an exchange, a spend or an impersonation: a pair.
    Issued(Box<Issued>),
    /// Of the same: none.
    Failed(GrantError),
    /// Of a declaration: the attempt that the intent is to carry.
    Declared(AttemptId),
    /// Of a revocation.
    Revoked(Result<(), CallError>),
}

impl StepOutcome {
    /// The stable code, for metrics and logs; `None` where nothing was sent.
    pub fn code(&self) -> Option<&'static str> {
        Some(match self {
            Self::Noted | Self::Declared(_) => return None,
            Self::Issued(issued) if issued.identity == Identity::Missing => Refusal::IdentityMissing.code(),
            Self::Issued(_) | Self::Revoked(Ok(())) => "ok",
            Self::Probed(Ok(true)) => "active",
            Self::Probed(Ok(false)) => "inactive",
            Self::Probed(Err(error)) | Self::Revoked(Err(error)) => match error {
                CallError::Refused(refusal) => refusal.code(),
                CallError::NoAnswer(_) => "no_answer",
            },
            Self::Failed(GrantError::Refused(refusal)) => refusal.code(),
            Self::Failed(GrantError::Unknown(_)) => "unknown",
            Self::Failed(GrantError::Unsent(_)) => "unsent",
        })
    }
}
