//! `apply`: the record after a step.

use std::time::Duration;

use super::doubt;
use super::input::DecisionInput;
use super::outcome::{Issued, StepOutcome};
use super::round::{Round, RoundFindings, is_of_an_earlier_life};
use super::step::Step;
use super::token::needless_to_spend;
use super::unread::unread_until;
use crate::ids::AttemptId;
use crate::ports::{CallError, Cause, GrantError, Identity, Refusal};
use crate::record::{EndReason, Intent, MOST_IN_RESERVE, Record, RefreshSlot, Slot, State, Suspension};
use crate::time::Timestamp;

/// Keycloak counts lives in whole seconds; a difference within this is none.
const WHOLE_SECONDS: Duration = Duration::from_secs(2);

/// What a step and its outcome make of a record. An outcome that does not belong to the step changes nothing.
#[must_use]
pub fn apply(mut round: Round, step: Step, outcome: StepOutcome, at: &DecisionInput<'_>) -> Round {
    let (record, findings) = (&mut round.record, &mut round.findings);
    match (step, outcome) {
        (Step::Rest(until), _) => rest(record, until),
        (Step::Finish(reason), _) => finish(record, reason, at),
        (Step::NextSpare, _) => take_from_reserve(record, findings),
        (Step::Suspend, _) => {
            record.lost_since.get_or_insert(at.now);
            suspend(record, findings, Suspension::Unclear, at);
        }
        (Step::Doubt(slot), _) => {
            let unspent = needless_to_spend(record, at);
            doubt::count(record, findings, slot, unspent, at);
        }
        (Step::DoubtStore, _) => record.lost_since = Some(at.now),
        (Step::Probe(slot), StepOutcome::Probed(Ok(active))) => {
            findings.note_probe(slot, Some(active));
            if !active && slot != Slot::Spare {
                findings.no_at.get_or_insert(at.now);
            }
            if active {
                record.lost_since = None;
                doubt::lift(record, slot);
            }
        }
        (Step::Introspect(slot), StepOutcome::Probed(Ok(active))) => findings.note_access(slot, Some(active)),
        (Step::Introspect(_), StepOutcome::Probed(Err(_))) => fail(record, findings, at),
        (Step::Probe(_), StepOutcome::Probed(Err(_))) => match record.renew_at.filter(|renew_at| at.now < *renew_at) {
            // Nothing hangs on this answer yet.
            Some(renew_at) => findings.rest_until = Some(look_at(renew_at, at)),
            None => fail(record, findings, at),
        },
        (Step::Declare(slot), StepOutcome::Declared(attempt)) => declare(record, findings, slot, attempt, at),
        // Nothing was consumed, and the pair that is there names its user.
        (Step::Exchange(_), StepOutcome::Issued(issued)) if issued.identity == Identity::Missing => {
            fail(record, findings, at);
        }
        (Step::Exchange(Slot::Anchor) | Step::Spend(Slot::Anchor), StepOutcome::Issued(issued)) => {
            replace_anchor(record, findings, step, *issued);
        }
        (Step::Exchange(_) | Step::Spend(_) | Step::Impersonate, StepOutcome::Issued(issued)) => {
            let identity = issued.identity;
            replace_pair(record, step, *issued, at);
            if let (Step::Spend(_), Some(known), Some(session)) = (step, findings.incarnation, &mut record.session) {
                // What a refresh brings is of the life the client session is in.
                session.incarnation = session.incarnation.max(known);
            }
            findings.begin_new_pair();
            if record.owns_session() {
                findings.incarnation = None;
            }
            match identity {
                Identity::Same => {}
                // The only pair there is: kept, and not served before one says whose it is.
                Identity::Missing => suspend(record, findings, Suspension::IdentityMissing, at),
                // In the same write: a pair of somebody else's is never there to be served.
                Identity::Another => finish(record, EndReason::IdentityChanged, at),
            }
        }
        (Step::Exchange(slot), StepOutcome::Failed(error)) => exchange_failed(record, findings, slot, error, at),
        (Step::Spend(slot), StepOutcome::Failed(error)) => spend_failed(record, findings, slot, error, at),
        (Step::Impersonate, StepOutcome::Failed(error)) => impersonation_failed(record, findings, error, at),
        (Step::Revoke, StepOutcome::Revoked(answer)) => match answer {
            // What is refused is the vault's client, which an operator can mend; the session is still there.
            Err(CallError::NoAnswer(_) | CallError::Refused(Refusal::ClientRejected)) => fail(record, findings, at),
            Ok(()) | Err(CallError::Refused(_)) => findings.revoked = true,
        },
        _ => {}
    }
    round
}

fn rest(record: &mut Record, until: Timestamp) {
    let end = if record.state.is_live() { until.min(record.expires_at) } else { until };
    record.due_at = Some(end);
}

/// Ends the record; where the vault has a session of its own, only its refresh token stays, until that is revoked.
fn finish(record: &mut Record, reason: EndReason, at: &DecisionInput<'_>) {
    let revocable = record.state.is_live() && record.owns_session();
    if let Some(pair) = record.pair.take().filter(|_| revocable) {
        record.erase();
        record.pair = Some(pair);
        record.state = State::Releasing(reason);
        record.due_at = Some(at.now);
    } else {
        record.bury();
        record.state = State::Ended(reason);
        record.due_at = None;
    }
    record.keep_until = at.now + at.settings.tombstone_ttl;
}

fn fail(record: &mut Record, findings: &mut RoundFindings, at: &DecisionInput<'_>) {
    let doublings = record.failures.min(16);
    record.failures = record.failures.saturating_add(1);
    let delay = at.settings.retry_min.saturating_mul(1 << doublings).min(at.settings.retry_max);
    let delay = longest_pause(record, at.now).map_or(delay, |longest| delay.min(longest.max(at.settings.retry_min)));
    findings.rest_until = Some(at.now + delay.mul_f64(1.0 - at.settings.jitter * at.roll));
}

/// How long a record whose access token lives may be left alone after a failure: an eighth of what is left of it. So what
/// dies sooner is tried again sooner, however often it has failed. One whose token is dead has nothing more to lose.
pub fn longest_pause(record: &Record, now: Timestamp) -> Option<Duration> {
    let left = record.pair.as_ref()?.access_expires_at.since(now);
    (!left.is_zero()).then_some(left / 8)
}

fn suspend(record: &mut Record, findings: &mut RoundFindings, why: Suspension, at: &DecisionInput<'_>) {
    record.state = State::Suspended(why);
    record.doubt = None;
    findings.rest_until = Some(at.now + at.settings.retry_max);
}

fn declare(record: &mut Record, findings: &mut RoundFindings, slot: Slot, attempt: AttemptId, at: &DecisionInput<'_>) {
    let Some(token) = record.slot_mut(slot) else { return };
    token.sends += 1;
    let hash = token.hash;
    let learning = findings.probed(slot) == Some(false);
    record.intent = Some(Intent { attempt, slot, hash, deadline: at.now + at.settings.quarantine, learning });
    findings.declared = Some(attempt);
}

/// The spare goes to the end of the reserve, for it may be active after all once its deadline has passed.
fn take_from_reserve(record: &mut Record, findings: &mut RoundFindings) {
    if record.reserve.is_empty() {
        return;
    }
    let next = record.reserve.remove(0);
    if let Some(before) = record.spare.replace(next) {
        record.reserve.push(before);
    }
    findings.taken += 1;
    findings.note_probe(Slot::Spare, None);
}

/// An intent is done with. Where it was the spare's, and the newest token had been sent before without an answer, that one may
/// still be at work in Keycloak: the intent is about it again. The spare's deadline is the later one.
fn withdraw(record: &mut Record, slot: Slot) -> Option<Intent> {
    let intent = record.intent.take()?;
    let in_flight =
        record.pair.as_ref().map(|pair| &pair.refresh).filter(|token| slot == Slot::Spare && token.sends > 0);
    record.intent = in_flight.map(|token| Intent { slot: Slot::Current, hash: token.hash, learning: false, ..intent });
    Some(intent)
}

/// Takes a declaration back: the token certainly did not arrive, or was certainly not consumed.
fn retract(record: &mut Record, findings: &mut RoundFindings, slot: Slot) {
    withdraw(record, slot);
    findings.declared = None;
    if let Some(token) = record.slot_mut(slot) {
        token.sends = token.sends.saturating_sub(1);
    }
}

fn replace_anchor(record: &mut Record, findings: &mut RoundFindings, step: Step, issued: Issued) {
    findings.anchored = true;
    record.intent = None;
    findings.declared = None;
    if issued.identity == Identity::Another {
        findings.verdict = Some(EndReason::IdentityChanged);
    } else if let Some(anchor) = &mut record.anchor {
        anchor.pair = issued.pair;
        record.doubt = record.doubt.filter(|doubt| doubt.slot != Slot::Anchor);
        if let (Step::Spend(_), Some(known)) = (step, findings.anchor_incarnation) {
            anchor.session.incarnation = anchor.session.incarnation.max(known);
        }
    }
}

fn replace_pair(record: &mut Record, step: Step, issued: Issued, at: &DecisionInput<'_>) {
    let Issued { mut pair, expires_in, session, identity, account } = issued;
    if let (Step::Exchange(_), Identity::Same) = (step, identity)
        && record.account.is_none()
    {
        // Learnt once, in a session that is known to be the user's, and by an act that can be repeated.
        record.account = account;
    }
    pair.rotated = matches!(step, Step::Spend(_));
    let previous = record.pair.take().map(|pair| pair.refresh);
    let unspent = |token: &RefreshSlot| token.sends == 0;
    let spare = record.spare.take().filter(|_| step != Step::Spend(Slot::Spare));
    let mut unspent: Vec<RefreshSlot> =
        previous.into_iter().chain(spare).chain(record.reserve.drain(..)).filter(unspent).collect();
    if step == Step::Impersonate {
        unspent.clear();
    }
    unspent.truncate(1 + MOST_IN_RESERVE);
    let mut unspent = unspent.into_iter();
    record.spare = unspent.next();
    record.reserve = unspent.collect();
    if let Some(session) = session {
        record.session = Some(session);
    }
    record.generation = record.generation.next();
    record.intent = None;
    record.state = State::Active;
    record.failures = 0;
    record.lost_since = None;
    record.doubt = None;
    record.announced_at = record.announced_at.filter(|_| doubt::is_announced(record, at.now));
    let refresh_life = pair.refresh.expires_at.map(|end| end.since(pair.issued_at));
    // Near its end Keycloak cuts both tokens to the session's last moment; a realm whose setting was lowered cuts one.
    // A new session is not at its end: its life is the realm's, even where that is shorter than it was.
    let cut = step != Step::Impersonate
        && expires_in + WHOLE_SECONDS / 2 < record.access_life
        && refresh_life.is_some_and(|life| life <= expires_in + WHOLE_SECONDS);
    record.session_ends_at = cut.then_some(pair.access_expires_at);
    record.access_life = if cut { record.access_life } else { expires_in };
    match record.session_ends_at {
        Some(_) if record.owns_session() => (record.renew_at, record.due_at) = (Some(at.now), Some(at.now)),
        Some(end) => (record.renew_at, record.due_at) = (Some(end), Some(look_at(end, at))),
        None => schedule(record, expires_in.min(refresh_life.unwrap_or(expires_in)), at),
    }
    record.pair = Some(pair);
    wait_unread(record, at);
}

/// Nobody has read the pair yet.
fn wait_unread(record: &mut Record, at: &DecisionInput<'_>) {
    if let Some(until) = unread_until(record, at.settings) {
        record.due_at = record.due_at.max(Some(until));
    }
}

/// The least part of its life that a job's first token has before it is renewed.
const FIRST: f64 = 0.1;

/// Sets when the first pair of a job is to be renewed: anywhere in the first part of its life, so that jobs which are registered
/// together are not renewed together.
pub fn schedule_first(record: &mut Record, life: Duration, at: &DecisionInput<'_>) {
    let latest = (at.settings.fraction * (1.0 + at.settings.jitter)).clamp(0.05, 0.95);
    let part = latest - (latest - FIRST).max(0.0) * at.roll;
    let renew_at = at.now + life.mul_f64(part);
    (record.renew_at, record.due_at) = (Some(renew_at), Some(look_at(renew_at, at)));
    wait_unread(record, at);
}

/// Sets when a token of this life is to be renewed, and when it is looked at next.
fn schedule(record: &mut Record, life: Duration, at: &DecisionInput<'_>) {
    let sway = 1.0 + at.settings.jitter * (at.roll * 2.0 - 1.0);
    let renew_at = at.now + life.mul_f64((at.settings.fraction * sway).clamp(0.05, 0.95));
    record.renew_at = Some(renew_at);
    record.due_at = Some(look_at(renew_at, at));
}

/// Expiry, revocation and reuse are silent in Keycloak: who renews seldom asks in between.
fn look_at(renew_at: Timestamp, at: &DecisionInput<'_>) -> Timestamp {
    renew_at.min(at.now + at.settings.probe_interval)
}

fn exchange_failed(
    record: &mut Record,
    findings: &mut RoundFindings,
    slot: Slot,
    error: GrantError,
    at: &DecisionInput<'_>,
) {
    match error {
        // Nothing was consumed either way.
        GrantError::Unknown(_) | GrantError::Unsent(_) | GrantError::Refused(Refusal::ClientRejected) => {
            fail(record, findings, at);
        }
        GrantError::Refused(Refusal::UserDisabled) => suspend(record, findings, Suspension::UserDisabled, at),
        GrantError::Refused(Refusal::ConsentMissing) => suspend(record, findings, Suspension::ConsentMissing, at),
        GrantError::Refused(_) => {
            // One answer for many causes: look at the refresh token again, and go on without exchange.
            findings.exchange_barred = true;
            findings.subject_refused = error == GrantError::Refused(Refusal::SubjectInvalid);
            findings.note_probe(slot, None);
        }
    }
}

fn spend_failed(
    record: &mut Record,
    findings: &mut RoundFindings,
    slot: Slot,
    error: GrantError,
    at: &DecisionInput<'_>,
) {
    let refusal = match error {
        GrantError::Unsent(_) | GrantError::Refused(Refusal::ClientRejected) => {
            retract(record, findings, slot);
            return fail(record, findings, at);
        }
        GrantError::Unknown(cause) => {
            // The intent stays. What was probed before may have changed.
            let exchange_barred = findings.exchange_barred;
            findings.forget_tokens();
            findings.exchange_barred = exchange_barred;
            match (cause, record.intent) {
                // What is slow will be slow for the spare as well: the answer may still be on its way to nowhere, and both
                // would be lost.
                (Cause::Timeout, Some(intent)) if at.now < intent.deadline => {
                    findings.rest_until = Some(intent.deadline);
                }
                (Cause::ServerError | Cause::Throttled, _) => fail(record, findings, at),
                _ => {}
            }
            return;
        }
        GrantError::Refused(refusal) => refusal,
    };
    let sent_before = record.slot(slot).is_some_and(|token| token.sends > 1);
    findings.declared = None;
    if let (Refusal::TokenReused | Refusal::ClientSessionGone, true) = (refusal, sent_before) {
        // Our own earlier, unanswered send had arrived after all. The intent stays: should what comes next fail, whoever
        // takes over knows that the loss is the vault's own.
        match slot {
            Slot::Anchor => findings.refused = Some((slot, EndReason::SpendLost)),
            Slot::Current | Slot::Spare => findings.lost_spend = true,
        }
        return;
    }
    let learning = withdraw(record, slot).is_some_and(|intent| intent.learning);
    match refusal {
        // Certainly not consumed: when the user is back, so is the token.
        Refusal::UserDisabled | Refusal::ConsentMissing => {
            retract(record, findings, slot);
            let disabled = refusal == Refusal::UserDisabled;
            suspend(record, findings, if disabled { Suspension::UserDisabled } else { Suspension::ConsentMissing }, at);
        }
        // Not in Keycloak's known words about a token: somebody's gateway, a client whose rights were taken for a while.
        // That it was sent stays noted; the probe tells what became of it.
        Refusal::Other
        | Refusal::NotAllowed
        | Refusal::NotMeant
        | Refusal::NotExchangeable
        | Refusal::NoRefreshToken
        | Refusal::NotBearer
        | Refusal::SubjectInvalid
        | Refusal::TokenTooLong => suspend(record, findings, Suspension::Unclear, at),
        refusal => {
            let recreated = refusal == Refusal::ClientSessionGone && is_of_an_earlier_life(record, findings);
            findings.refused = Some((slot, if recreated { EndReason::SessionRecreated } else { reason(refusal) }));
            findings.no_at.get_or_insert(at.now);
            if !learning {
                // Nothing was consumed, and Keycloak may err: then it is sent again.
                retract(record, findings, slot);
            }
        }
    }
}

fn impersonation_failed(record: &mut Record, findings: &mut RoundFindings, error: GrantError, at: &DecisionInput<'_>) {
    match error {
        GrantError::Unknown(_) | GrantError::Unsent(_) | GrantError::Refused(Refusal::ClientRejected) => {
            fail(record, findings, at);
        }
        GrantError::Refused(Refusal::UserDisabled) => suspend(record, findings, Suspension::UserDisabled, at),
        GrantError::Refused(Refusal::ConsentMissing) => suspend(record, findings, Suspension::ConsentMissing, at),
        // One answer for a missing role, a disabled user and an unknown one; two of the three can be mended.
        GrantError::Refused(_) => match record.state {
            State::Suspended(why) => suspend(record, findings, why, at),
            _ if record.pair.as_ref().is_some_and(|pair| at.now < pair.access_expires_at) => fail(record, findings, at),
            _ => suspend(record, findings, Suspension::ImpersonationRefused, at),
        },
    }
}

/// The end that a refusal of a refresh token means.
fn reason(refusal: Refusal) -> EndReason {
    match refusal {
        Refusal::SessionNotActive => EndReason::SessionNotActive,
        Refusal::ClientSessionGone => EndReason::ClientSessionGone,
        Refusal::TokenReused => EndReason::TokenReused,
        Refusal::TokenStale => EndReason::TokenStale,
        Refusal::TokenExpired => EndReason::SessionExpired,
        _ => EndReason::TokenRefused,
    }
}
