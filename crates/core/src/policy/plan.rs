//! `plan`: the next step for a record.

use std::time::Duration;

use super::apply::is_of_an_earlier_life;
use super::{Moment, Progress, Step};
use crate::record::{Acquisition, EndReason, Intent, Pair, Record, Slot, State};

/// An access token with less than this left is not sent for exchange: it would expire on the way.
const EXCHANGE_MARGIN: Duration = Duration::from_millis(300);

/// How long an exchange waits for a registration in the same client session to be over.
const JOINING_PAUSE: Duration = Duration::from_millis(300);

/// How long a refresh token is dead before the job is suspended or ends of it, where the store may have lost a newer pair:
/// whoever holds that one in memory writes it again meanwhile.
const DOUBT: Duration = Duration::from_secs(5);

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
    if round.lost_spend {
        return plan_loss(record);
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
    if is_of_an_earlier_life(record, round) {
        return plan_recreated(progress, at);
    }
    if record.anchor.is_some() && !round.anchored {
        return plan_anchor(progress, at);
    }
    plan_pair(progress, at)
}

fn plan_pair(progress: &Progress, at: &Moment<'_>) -> Step {
    let record = &progress.record;
    if record.session_ends_at.is_some() && record.owns_session() {
        return Step::Impersonate;
    }
    // At the announced end the probe has the last word: should the session live on after all, so does the job.
    let renew_at = record.session_ends_at.max(record.renew_at);
    let later = renew_at.filter(|renew_at| at.now < *renew_at && record.state == State::Active);
    match (progress.round.probed(Slot::Current), later) {
        (None, _) => Step::Probe(Slot::Current),
        (Some(true), Some(renew_at)) => Step::Rest(renew_at.min(at.now + at.settings.probe_interval)),
        (Some(true), None) if may_exchange(progress, at) => {
            if progress.round.joining {
                Step::Rest(at.now + JOINING_PAUSE)
            } else {
                Step::Exchange(Slot::Current)
            }
        }
        (Some(true), None) => Step::Declare(Slot::Current),
        (Some(false), _) => plan_gone(progress, at),
    }
}

/// The end of a client session is noted when a job of it learns of it, which may be after a newer job has begun the next
/// life: then that job's pair was noted under the old number. The probe tells the two apart and harms neither. An
/// exchange would end the user's session should the probe be overtaken; a refresh would just be refused, and what it
/// brings is certainly of the life known by now.
fn plan_recreated(progress: &Progress, at: &Moment<'_>) -> Step {
    match progress.round.probed(Slot::Current) {
        None => Step::Probe(Slot::Current),
        Some(true) => Step::Declare(Slot::Current),
        // Of the new life or not, it may be dead for a while only, or be older than one that somebody holds.
        Some(false) => plan_gone(progress, at),
    }
}

fn may_exchange(progress: &Progress, at: &Moment<'_>) -> bool {
    at.settings.may_exchange
        && !progress.round.exchange_barred
        && progress.record.pair.as_ref().is_some_and(|pair| is_exchangeable(pair, at))
}

fn is_exchangeable(pair: &Pair, at: &Moment<'_>) -> bool {
    // An offline session's access token is always refused ("creating a new session is needed").
    pair.refresh.expires_at.is_some() && pair.access_expires_at > at.now + EXCHANGE_MARGIN
}

/// The newest refresh token is no longer active. An earlier one may be. If not, the session has ended.
fn plan_gone(progress: &Progress, at: &Moment<'_>) -> Step {
    let record = &progress.record;
    if let Some(step) = plan_spare(progress) {
        return step;
    }
    // The announced end is counted from whole seconds, and may come a little before the token's.
    let lapsed = lapsed(record, Slot::Current, at) || record.session_ends_at.is_some_and(|end| end <= at.now);
    match (lapsed, record.state) {
        // As it was told to be: nobody else ended it.
        (true, _) if record.owns_session() => Step::Impersonate,
        (true, _) => Step::Finish(EndReason::SessionExpired),
        (false, State::Suspended(_)) => Step::Rest(at.now + at.settings.retry_max),
        (false, _) if never_spent(progress, at) => Step::Declare(Slot::Current),
        (false, _) => plan_doubt(progress, at),
    }
}

/// Whether the newest refresh token certainly was not spent, so that sending it to learn why it is dead cannot count as
/// reuse. That nobody noted a spend is enough only where the store has not lost the note: where it has lived on unbroken
/// since it wrote the pair. Otherwise, while its access token lives there was no reason to spend it, unless its client may
/// not exchange.
fn never_spent(progress: &Progress, at: &Moment<'_>) -> bool {
    let needless = |pair: &Pair| !pair.rotated && at.settings.may_exchange && is_exchangeable(pair, at);
    unsent(&progress.record, Slot::Current)
        && progress.record.pair.as_ref().is_some_and(|pair| is_unbroken(progress, pair) || needless(pair))
}

fn plan_doubt(progress: &Progress, at: &Moment<'_>) -> Step {
    let record = &progress.record;
    match record.lost_since.map(|since| since + DOUBT) {
        None => Step::Doubt,
        Some(end) if at.now < end => Step::Rest(end),
        Some(_) if is_of_an_earlier_life(record, &progress.round) => Step::Finish(EndReason::SessionRecreated),
        // Its owner may have spent what it deposited.
        Some(_) if is_deposit(record) => Step::Finish(EndReason::SessionLost),
        // The user may just be disabled, and be enabled again.
        Some(_) => Step::Suspend,
    }
}

/// Whether the pair is still the one that was deposited.
fn is_deposit(record: &Record) -> bool {
    record.acquisition == Acquisition::Adopt
        && record.pair.as_ref().is_some_and(|pair| pair.issued_at <= record.created_at)
}

/// A spend was declared and its outcome is not known: after a crash, a time-out, a 5xx or a cut answer.
fn plan_unknown(progress: &Progress, intent: Intent, at: &Moment<'_>) -> Step {
    let (record, round) = (&progress.record, &progress.round);
    let slots: &[Slot] = match intent.slot {
        Slot::Anchor => &[Slot::Anchor],
        Slot::Current | Slot::Spare => &[Slot::Current, Slot::Spare],
    };
    if at.now < intent.deadline {
        let spare = (intent.slot != Slot::Anchor).then(|| plan_spare(progress)).flatten();
        return spare.unwrap_or(Step::Rest(intent.deadline));
    }
    // This one may never have arrived. Nor may those that were sent before it; their deadlines have passed as well.
    for slot in slots.iter().copied().filter(|slot| record.slot(*slot).is_some()) {
        match round.probed(slot) {
            None => return Step::Probe(slot),
            Some(true) if may_resend(record, slot, at.settings.max_reuse) => return Step::Declare(slot),
            Some(_) => {}
        }
    }
    match intent.slot {
        slot if intent.learning && !lapsed(record, slot, at) => Step::Suspend,
        Slot::Anchor if intent.learning => Step::Finish(EndReason::SessionNotActive),
        // Without its anchor an impersonated job is not watched any more, and must not go on.
        Slot::Anchor => Step::Finish(EndReason::SpendLost),
        Slot::Current | Slot::Spare if round.taken < record.reserve.len() => Step::NextSpare,
        Slot::Current if intent.learning => Step::Finish(EndReason::SessionLost),
        _ => plan_loss(record),
    }
}

/// An unsent token of an earlier generation, if there is one that is active.
fn plan_spare(progress: &Progress) -> Option<Step> {
    let (record, round) = (&progress.record, &progress.round);
    if unsent(record, Slot::Spare) {
        match round.probed(Slot::Spare) {
            None => return Some(Step::Probe(Slot::Spare)),
            Some(true) => return Some(Step::Declare(Slot::Spare)),
            Some(false) => {}
        }
    }
    let more = round.taken < record.reserve.len() && record.reserve.iter().any(|token| token.sends == 0);
    more.then_some(Step::NextSpare)
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

/// The user's session is watched by a pair of its own, which is renewed with every round so that it does not idle out. It is
/// spent only where half of its refresh token's life is over: nobody is served from it, and it has no spare.
fn plan_anchor(progress: &Progress, at: &Moment<'_>) -> Step {
    let (record, round) = (&progress.record, &progress.round);
    let Some(anchor) = &record.anchor else { return plan_pair(progress, at) };
    let of_this_life = round.anchor_incarnation.is_none_or(|known| known <= anchor.session.incarnation);
    let may_exchange = of_this_life && !round.exchange_barred && at.settings.may_exchange;
    match round.probed(Slot::Anchor) {
        None => Step::Probe(Slot::Anchor),
        Some(false) => plan_unwatched(progress, &anchor.pair, at),
        Some(true) if record.renew_at.is_some_and(|renew_at| at.now < renew_at) => plan_pair(progress, at),
        Some(true) if may_exchange && is_exchangeable(&anchor.pair, at) => {
            if round.anchor_joining {
                Step::Rest(at.now + JOINING_PAUSE)
            } else {
                Step::Exchange(Slot::Anchor)
            }
        }
        Some(true) if half_over(&anchor.pair, at) => Step::Declare(Slot::Anchor),
        Some(true) => plan_pair(progress, at),
    }
}

/// The user's session is over, unless its user is disabled, which can pass: the anchor's token is sent to learn which,
/// where it certainly was not spent.
fn plan_unwatched(progress: &Progress, anchor: &Pair, at: &Moment<'_>) -> Step {
    let lapsed = lapsed(&progress.record, Slot::Anchor, at);
    match progress.record.state {
        State::Suspended(_) if !lapsed => Step::Rest(at.now + at.settings.retry_max),
        _ if lapsed || anchor.refresh.sends > 0 => Step::Finish(EndReason::SessionNotActive),
        _ if is_unbroken(progress, anchor) => Step::Declare(Slot::Anchor),
        _ => Step::Suspend,
    }
}

fn lapsed(record: &Record, slot: Slot, at: &Moment<'_>) -> bool {
    record.slot(slot).and_then(|token| token.expires_at).is_some_and(|end| end <= at.now)
}

/// Whether the store has lived on without a break since it wrote a pair.
fn is_unbroken(progress: &Progress, pair: &Pair) -> bool {
    pair.epoch.is_some() && pair.epoch == progress.round.epoch
}

fn half_over(pair: &Pair, at: &Moment<'_>) -> bool {
    pair.refresh.expires_at.is_some_and(|end| end.since(at.now) <= at.now.since(pair.issued_at))
}

fn unsent(record: &Record, slot: Slot) -> bool {
    record.slot(slot).is_some_and(|token| token.sends == 0)
}
