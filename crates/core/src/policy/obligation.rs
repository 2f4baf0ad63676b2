//! What is owed after a step: what must be durable before anything else, and what the outcome says of others.

use super::outcome::StepOutcome;
use super::step::{Request, Step};
use crate::ports::{CallError, GrantError, Refusal};
use crate::record::Slot;

/// What would be lost if what came of a step were not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Nothing that cannot be found out or come by again: written under the lease, and given up where the store is away.
    Repeatable,
    /// The answer to a spend: the only copy of the only live refresh token. It is written before anything else happens,
    /// whoever holds the lease by then, as long as the intent is still this one; it is offered again and again while the store
    /// is away, and kept in memory beyond its write.
    SpendAnswer,
    /// A session of the vault's own, which nobody else knows of. It is offered as long as the process lives, and given up
    /// where the store refuses it: until the store has said whether the job lives in it, it can neither be left behind nor be
    /// revoked, and a new one each time would leave as many at Keycloak.
    NewSession,
}

/// What an outcome says of the tenant's Keycloak, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum KeycloakReply {
    /// It was not asked.
    #[default]
    NotAsked,
    /// It answered.
    Answered,
    /// It refused the vault's client itself: somebody has to put that right.
    ClientRejected,
    /// It did not answer as it should.
    NoAnswer,
}

/// What is owed after a step and its outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Obligations {
    /// What the write must outlast.
    pub durability: Durability,
    /// What the tenant's Keycloak said.
    pub reply: KeycloakReply,
    /// Whether the client may exchange, where the outcome says so.
    pub may_exchange: Option<bool>,
    /// The store is asked which life it is in before the outcome is applied: only a store that has lived on unbroken proves
    /// that a dead refresh token was never spent.
    pub asks_epoch: bool,
    /// A write that is refused most likely says that the lease was over before Keycloak had answered: it is asked for more
    /// than it can answer.
    pub conflict_means_overload: bool,
    /// The permit to spend goes back once the write has been made.
    pub returns_permit: bool,
}

impl Step {
    /// What is owed after it.
    pub fn obligations(self, outcome: &StepOutcome) -> Obligations {
        Obligations {
            durability: durability(self, outcome),
            reply: reply(outcome),
            may_exchange: may_exchange(self, outcome),
            asks_epoch: matches!(
                (self, outcome),
                (Self::Probe(Slot::Current | Slot::Anchor), StepOutcome::Probed(Ok(false)))
            ),
            conflict_means_overload: matches!(self.request(), Some(Request::Exchange(_))),
            returns_permit: matches!(self.request(), Some(Request::Refresh(_))),
        }
    }
}

fn durability(step: Step, outcome: &StepOutcome) -> Durability {
    match (step.request(), outcome) {
        (Some(Request::Refresh(_)), StepOutcome::Issued(_)) => Durability::SpendAnswer,
        (Some(Request::Impersonate), StepOutcome::Issued(_)) => Durability::NewSession,
        _ => Durability::Repeatable,
    }
}

fn reply(outcome: &StepOutcome) -> KeycloakReply {
    match outcome {
        StepOutcome::Noted | StepOutcome::Declared(_) => KeycloakReply::NotAsked,
        StepOutcome::Failed(GrantError::Unknown(_) | GrantError::Unsent(_))
        | StepOutcome::Probed(Err(CallError::NoAnswer(_)))
        | StepOutcome::Revoked(Err(CallError::NoAnswer(_))) => KeycloakReply::NoAnswer,
        StepOutcome::Failed(GrantError::Refused(Refusal::ClientRejected))
        | StepOutcome::Probed(Err(CallError::Refused(Refusal::ClientRejected))) => KeycloakReply::ClientRejected,
        StepOutcome::Issued(_) | StepOutcome::Failed(_) | StepOutcome::Probed(_) | StepOutcome::Revoked(_) => {
            KeycloakReply::Answered
        }
    }
}

fn may_exchange(step: Step, outcome: &StepOutcome) -> Option<bool> {
    match (step.request()?, outcome) {
        (Request::Exchange(_), StepOutcome::Issued(_)) => Some(true),
        (Request::Exchange(_), StepOutcome::Failed(GrantError::Refused(Refusal::NotAllowed))) => Some(false),
        _ => None,
    }
}
