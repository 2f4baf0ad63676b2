//! `plan`: the next step for a record.

use std::time::Duration;

use super::{Moment, Progress, Step};
use crate::record::{Acquisition, EndReason, Intent, Record, Slot, State};

/// An access token with less than this left is not sent for exchange: it would expire on the way.
const EXCHANGE_MARGIN: Duration = Duration::from_millis(300);

/// Says what to do next. Calling it again without carrying the step out gives the same answer.
pub fn plan(progress: &Progress, at: &Moment<'_>) -> Step {
    if let Some(until) = progress.round.rest_until {
        return Step::Rest(until);
    }
    match progress.record.state {
        State::Ended(_) => Step::Done,
        State::Releasing(reason) => plan_release(progress, reason),
        State::Active | State::Suspended(_) => plan_live(progress, at),
    }
}

fn plan_release(progress: &Progress, reason: EndReason) -> Step {
    let record = &progress.record;
    if record.owns_session() && record.pair.is_some() && !progress.round.revoked {
        Step::Revoke
    } else {
        Step::Finish(reason)
    }
}

fn plan_live(progress: &Progress, at: &Moment<'_>) -> Step {
    let (record, round) = (&progress.record, &progress.round);
    if let Some(reason) = round.verdict {
        return Step::Finish(reason);
    }
    if at.now >= record.expires_at {
        return Step::Finish(EndReason::Expired);
    }
    if record.parent.is_some() {
        return Step::Rest(record.expires_at);
    }
    if let Some(intent) = record.intent {
        return if round.declared == Some(intent.attempt) {
            Step::Spend(intent.slot)
        } else {
            plan_unknown(progress, intent, at)
        };
    }
    if let Some(due) = record.due_at.filter(|due| at.now < *due) {
        return Step::Rest(due);
    }
    if was_recreated(progress) {
        return plan_recreated(progress);
    }
    if round.lost_spend {
        return plan_loss(record);
    }
    if record.anchor.is_some() && !round.anchored {
        return plan_anchor(progress, at);
    }
    match record.session_ends_at {
        Some(_) if record.acquisition == Acquisition::Impersonate => Step::Impersonate,
        Some(end) if at.now < end => Step::Rest(end),
        // At the announced end the probe has the last word: should the session live on after all, so does the job.
        _ => plan_renewal(progress, at),
    }
}

/// Whether the pair may be of an earlier life of its client session than the one known by now.
fn was_recreated(progress: &Progress) -> bool {
    match (&progress.record.session, progress.round.incarnation) {
        (Some(session), Some(known)) => known > session.incarnation,
        _ => false,
    }
}

/// The end of a client session is noted when a job of it learns of it, which may be after a newer job has begun the next
/// life: then that job's pair was noted under the old number. The probe tells the two apart and harms neither. An
/// exchange would end the user's session should the probe be overtaken; a refresh would just be refused, and what it
/// brings is certainly of the life known by now.
fn plan_recreated(progress: &Progress) -> Step {
    match progress.round.probed(Slot::Current) {
        None => Step::Probe(Slot::Current),
        Some(true) => Step::Declare(Slot::Current),
        Some(false) => Step::Finish(EndReason::SessionRecreated),
    }
}

fn plan_renewal(progress: &Progress, at: &Moment<'_>) -> Step {
    match progress.round.probed(Slot::Current) {
        None => Step::Probe(Slot::Current),
        Some(true) if may_exchange(progress, at) => Step::Exchange(Slot::Current),
        Some(true) => Step::Declare(Slot::Current),
        Some(false) => plan_gone(progress, at),
    }
}

fn may_exchange(progress: &Progress, at: &Moment<'_>) -> bool {
    at.settings.may_exchange
        && !progress.round.exchange_barred
        && progress.record.pair.as_ref().is_some_and(|pair| {
            // An offline session's access token is always refused ("creating a new session is needed").
            pair.refresh.expires_at.is_some() && pair.access_expires_at > at.now + EXCHANGE_MARGIN
        })
}

/// The newest refresh token is no longer active. The spare may be; if not, a token that was never sent may be sent to
/// learn why: it cannot count as reused, and a dead session cannot be harmed.
fn plan_gone(progress: &Progress, at: &Moment<'_>) -> Step {
    let (record, round) = (&progress.record, &progress.round);
    if unsent(record, Slot::Spare) {
        match round.probed(Slot::Spare) {
            None => return Step::Probe(Slot::Spare),
            Some(true) => return Step::Declare(Slot::Spare),
            Some(false) => {}
        }
    }
    if let State::Suspended(_) = record.state {
        return Step::Rest(at.now + at.settings.retry_max);
    }
    let lapsed = |slot| record.slot(slot).and_then(|token| token.expires_at).is_some_and(|end| end <= at.now);
    if lapsed(Slot::Current) {
        return Step::Finish(EndReason::SessionExpired);
    }
    match [Slot::Current, Slot::Spare].into_iter().find(|slot| unsent(record, *slot) && !lapsed(*slot)) {
        Some(slot) => Step::Declare(slot),
        None => Step::Finish(EndReason::SessionLost),
    }
}

/// A spend was declared and its outcome is not known: after a crash, a time-out, a 5xx or a cut answer.
fn plan_unknown(progress: &Progress, intent: Intent, at: &Moment<'_>) -> Step {
    let (record, round) = (&progress.record, &progress.round);
    let other = if intent.slot == Slot::Current { Slot::Spare } else { Slot::Current };
    if unsent(record, other) {
        match round.probed(other) {
            None => return Step::Probe(other),
            Some(true) => return Step::Declare(other),
            Some(false) => {}
        }
    }
    if at.now < intent.deadline {
        return Step::Rest(intent.deadline);
    }
    match round.probed(intent.slot) {
        None => Step::Probe(intent.slot),
        Some(true) if may_resend(record, intent.slot, at.settings.max_reuse) => Step::Declare(intent.slot),
        Some(_) => plan_loss(record),
    }
}

/// An active probe means unspent only where reuse is not allowed at all; else the durable count of sends decides.
fn may_resend(record: &Record, slot: Slot, max_reuse: u32) -> bool {
    max_reuse == 0 || record.slot(slot).is_some_and(|token| token.sends <= max_reuse)
}

/// The vault's own spend is lost for good.
fn plan_loss(record: &Record) -> Step {
    match record.acquisition {
        Acquisition::Impersonate => Step::Impersonate,
        Acquisition::Exchange | Acquisition::Adopt => Step::Finish(EndReason::SpendLost),
    }
}

/// The user's session is watched by a pair of its own, which is renewed with every round so that it does not idle out.
fn plan_anchor(progress: &Progress, at: &Moment<'_>) -> Step {
    let anchor_lives =
        progress.record.anchor.as_ref().is_some_and(|anchor| anchor.pair.access_expires_at > at.now + EXCHANGE_MARGIN);
    match progress.round.probed(Slot::Anchor) {
        None => Step::Probe(Slot::Anchor),
        Some(false) => Step::Finish(EndReason::SessionNotActive),
        Some(true) if anchor_lives && !progress.round.exchange_barred => Step::Exchange(Slot::Anchor),
        Some(true) => plan_after_anchor(progress, at),
    }
}

fn plan_after_anchor(progress: &Progress, at: &Moment<'_>) -> Step {
    if progress.record.session_ends_at.is_some() { Step::Impersonate } else { plan_renewal(progress, at) }
}

fn unsent(record: &Record, slot: Slot) -> bool {
    record.slot(slot).is_some_and(|token| token.sends == 0)
}
