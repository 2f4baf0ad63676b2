//! `apply`: the record after a step.

use std::time::Duration;

use super::{Issued, Moment, Outcome, Progress, Round, Step};
use crate::ids::AttemptId;
use crate::ports::{CallError, GrantError, Refusal};
use crate::record::{EndReason, Intent, Record, Slot, State, Suspension};
use crate::time::Timestamp;

/// Keycloak counts lives in whole seconds; a difference within this is none.
const WHOLE_SECONDS: Duration = Duration::from_secs(2);

/// What a step and its outcome make of a record. An outcome that does not belong to the step changes nothing.
#[must_use]
pub fn apply(mut progress: Progress, step: Step, outcome: Outcome, at: &Moment<'_>) -> Progress {
    let (record, round) = (&mut progress.record, &mut progress.round);
    match (step, outcome) {
        (Step::Rest(until), _) => rest(record, until),
        (Step::Finish(reason), _) => finish(record, reason, at),
        (Step::Probe(slot), Outcome::Probed(Ok(active))) => round.note_probe(slot, Some(active)),
        (Step::Probe(_), Outcome::Probed(Err(_))) => fail(record, round, at),
        (Step::Declare(slot), Outcome::Declared(attempt)) => declare(record, round, slot, attempt, at),
        (Step::Exchange(Slot::Anchor), Outcome::Issued(issued)) => hold_anchor(record, round, *issued),
        (Step::Exchange(_) | Step::Spend(_) | Step::Impersonate, Outcome::Issued(issued)) => {
            let same_user = issued.same_user;
            rotate(record, step, *issued, at);
            if let (Step::Spend(_), Some(known), Some(session)) = (step, round.incarnation, &mut record.session) {
                // What a refresh brings is of the life the client session is in.
                session.incarnation = session.incarnation.max(known);
            }
            settle(record, round);
            if !same_user {
                // In the same write: a pair of somebody else's is never there to be served.
                finish(record, EndReason::IdentityChanged, at);
            }
        }
        (Step::Exchange(slot), Outcome::Failed(error)) => exchange_failed(record, round, slot, error, at),
        (Step::Spend(slot), Outcome::Failed(error)) => spend_failed(record, round, slot, error, at),
        (Step::Impersonate, Outcome::Failed(error)) => impersonation_failed(record, round, error, at),
        (Step::Revoke, Outcome::Revoked(answer)) => match answer {
            // What is refused is the vault's client, which an operator can mend; the session is still there.
            Err(CallError::NoAnswer(_) | CallError::Refused(Refusal::ClientRejected)) => fail(record, round, at),
            Ok(()) | Err(CallError::Refused(_)) => round.revoked = true,
        },
        _ => {}
    }
    progress
}

fn rest(record: &mut Record, until: Timestamp) {
    let end = if record.state.is_live() { until.min(record.expires_at) } else { until };
    record.due_at = Some(end);
}

/// Ends the record; where the vault has a session of its own, only its refresh token stays, until that is revoked.
fn finish(record: &mut Record, reason: EndReason, at: &Moment<'_>) {
    let revocable = record.state.is_live() && record.owns_session();
    if let Some(pair) = record.pair.take().filter(|_| revocable) {
        record.erase();
        record.pair = Some(pair);
        record.state = State::Releasing(reason);
        record.due_at = Some(at.now);
    } else {
        record.erase();
        record.state = State::Ended(reason);
        record.due_at = None;
    }
    record.keep_until = at.now + at.settings.tombstone_ttl;
}

fn fail(record: &mut Record, round: &mut Round, at: &Moment<'_>) {
    let doublings = record.failures.min(16);
    record.failures = record.failures.saturating_add(1);
    let delay = at.settings.retry_min.saturating_mul(1 << doublings).min(at.settings.retry_max);
    round.rest_until = Some(at.now + delay.mul_f64(1.0 - at.settings.jitter * at.roll));
}

fn suspend(record: &mut Record, round: &mut Round, why: Suspension, at: &Moment<'_>) {
    record.state = State::Suspended(why);
    round.rest_until = Some(at.now + at.settings.retry_max);
}

fn declare(record: &mut Record, round: &mut Round, slot: Slot, attempt: AttemptId, at: &Moment<'_>) {
    let Some(token) = record.slot_mut(slot) else { return };
    token.sends += 1;
    let hash = token.hash;
    record.intent = Some(Intent { attempt, slot, hash, deadline: at.now + at.settings.quarantine });
    round.declared = Some(attempt);
}

/// Takes a declaration back: the token certainly did not arrive, or was certainly not consumed.
fn retract(record: &mut Record, round: &mut Round, slot: Slot) {
    record.intent = None;
    round.declared = None;
    if let Some(token) = record.slot_mut(slot) {
        token.sends = token.sends.saturating_sub(1);
    }
}

fn hold_anchor(record: &mut Record, round: &mut Round, issued: Issued) {
    round.anchored = true;
    if !issued.same_user {
        round.verdict = Some(EndReason::IdentityChanged);
    } else if let Some(anchor) = &mut record.anchor {
        anchor.pair = issued.pair;
    }
}

fn rotate(record: &mut Record, step: Step, issued: Issued, at: &Moment<'_>) {
    let Issued { pair, expires_in, session, same_user: _ } = issued;
    let previous = record.pair.take().map(|pair| pair.refresh);
    let unspent = |token: &crate::record::RefreshSlot| token.sends == 0;
    record.spare = match step {
        Step::Impersonate => None,
        Step::Spend(Slot::Spare) => previous.filter(unspent),
        _ => previous.filter(unspent).or_else(|| record.spare.take().filter(unspent)),
    };
    if let Some(session) = session {
        record.session = Some(session);
    }
    record.generation = record.generation.next();
    record.intent = None;
    record.state = State::Active;
    record.failures = 0;
    let refresh_life = pair.refresh.expires_at.map(|end| end.since(pair.issued_at));
    // Near its end Keycloak cuts both tokens to the session's last moment; a realm whose setting was lowered cuts one.
    // A new session is not at its end: its life is the realm's, even where that is shorter than it was.
    let cut = step != Step::Impersonate
        && expires_in + WHOLE_SECONDS / 2 < record.access_life
        && refresh_life.is_some_and(|life| life <= expires_in + WHOLE_SECONDS);
    record.session_ends_at = cut.then_some(pair.access_expires_at);
    record.access_life = if cut { record.access_life } else { expires_in };
    record.due_at = Some(match record.session_ends_at {
        Some(_) if record.owns_session() => at.now,
        Some(end) => end,
        None => due(expires_in.min(refresh_life.unwrap_or(expires_in)), at),
    });
    record.pair = Some(pair);
}

/// Closes the round after a renewal: what was found out about the old pair says nothing about the new one.
fn settle(record: &mut Record, round: &mut Round) {
    let Round { incarnation, anchored, .. } = round.clone();
    *round = Round { anchored, incarnation, ..Round::default() };
    if record.owns_session() {
        round.incarnation = None;
    }
}

/// When a token of this life is to be renewed.
pub fn due(life: Duration, at: &Moment<'_>) -> Timestamp {
    let sway = 1.0 + at.settings.jitter * (at.roll * 2.0 - 1.0);
    at.now + life.mul_f64((at.settings.fraction * sway).clamp(0.05, 0.95))
}

fn exchange_failed(record: &mut Record, round: &mut Round, slot: Slot, error: GrantError, at: &Moment<'_>) {
    match error {
        // Nothing was consumed either way.
        GrantError::Unknown(_) | GrantError::Unsent(_) | GrantError::Refused(Refusal::ClientRejected) => {
            fail(record, round, at);
        }
        GrantError::Refused(Refusal::UserDisabled) => suspend(record, round, Suspension::UserDisabled, at),
        GrantError::Refused(Refusal::ConsentMissing) => suspend(record, round, Suspension::ConsentMissing, at),
        GrantError::Refused(_) => {
            // One answer for many causes: look at the refresh token again, and go on without exchange.
            round.exchange_barred = true;
            round.note_probe(slot, None);
        }
    }
}

fn spend_failed(record: &mut Record, round: &mut Round, slot: Slot, error: GrantError, at: &Moment<'_>) {
    let refusal = match error {
        GrantError::Unsent(_) | GrantError::Refused(Refusal::ClientRejected) => {
            retract(record, round, slot);
            return fail(record, round, at);
        }
        GrantError::Unknown(_) => {
            // The intent stays. What was probed before may have changed.
            let Round { incarnation, exchange_barred, .. } = round.clone();
            *round = Round { exchange_barred, incarnation, ..Round::default() };
            return;
        }
        GrantError::Refused(refusal) => refusal,
    };
    let sent_before = record.slot(slot).is_some_and(|token| token.sends > 1);
    record.intent = None;
    round.declared = None;
    match refusal {
        Refusal::UserDisabled => suspend(record, round, Suspension::UserDisabled, at),
        Refusal::ConsentMissing => suspend(record, round, Suspension::ConsentMissing, at),
        // Our own earlier, unanswered send had arrived after all.
        Refusal::TokenReused | Refusal::ClientSessionGone if sent_before => round.lost_spend = true,
        refusal => round.verdict = Some(verdict(refusal)),
    }
}

fn impersonation_failed(record: &mut Record, round: &mut Round, error: GrantError, at: &Moment<'_>) {
    match error {
        GrantError::Unknown(_) | GrantError::Unsent(_) | GrantError::Refused(Refusal::ClientRejected) => {
            fail(record, round, at);
        }
        GrantError::Refused(Refusal::UserDisabled) => suspend(record, round, Suspension::UserDisabled, at),
        GrantError::Refused(Refusal::ConsentMissing) => suspend(record, round, Suspension::ConsentMissing, at),
        GrantError::Refused(_) => round.verdict = Some(EndReason::ImpersonationRefused),
    }
}

fn verdict(refusal: Refusal) -> EndReason {
    match refusal {
        Refusal::SessionNotActive => EndReason::SessionNotActive,
        Refusal::ClientSessionGone => EndReason::ClientSessionGone,
        Refusal::TokenReused => EndReason::TokenReused,
        Refusal::TokenStale => EndReason::TokenStale,
        Refusal::TokenExpired => EndReason::SessionExpired,
        _ => EndReason::TokenRefused,
    }
}
