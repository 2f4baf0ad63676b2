//! `plan`: the next step for a record.

use std::time::Duration;

use super::doubt::{self, unless_in_doubt};
use super::input::DecisionInput;
use super::round::{Round, RoundFindings, is_of_an_earlier_life};
use super::step::Step;
use super::token::{EXCHANGE_MARGIN, half_over, is_exchangeable, is_pressed, lapsed, needless_to_spend, unsent};
use crate::record::{Acquisition, EndReason, Intent, Pair, Record, Slot, State};

/// How long an exchange waits before it looks again whether a registration in the same client session is over.
const JOINING_PAUSE: Duration = Duration::from_millis(300);

/// How long a refresh token is dead before the job is suspended, where the store may have lost a newer pair: whoever holds
/// that one in memory writes it again meanwhile.
const STORE_DOUBT: Duration = Duration::from_secs(5);

/// Says what to do next. Calling it again without carrying the step out gives the same answer.
pub fn plan(round: &Round, at: &DecisionInput<'_>) -> Step {
    if let Some(until) = round.findings.rest_until {
        return Step::Rest(until);
    }
    match round.record.state {
        State::Ended(_) => Step::Done,
        State::Releasing(reason) => plan_release(round, reason),
        State::Active | State::Suspended(_) => plan_live(round, at),
    }
}

fn plan_release(round: &Round, reason: EndReason) -> Step {
    let record = &round.record;
    if record.owns_session() && record.pair.is_some() && !round.findings.revoked {
        Step::Revoke
    } else {
        Step::Finish(reason)
    }
}

fn plan_live(round: &Round, at: &DecisionInput<'_>) -> Step {
    let (record, findings) = (&round.record, &round.findings);
    if let Some(reason) = findings.verdict {
        return Step::Finish(reason);
    }
    if let Some((slot, reason)) = findings.refused {
        return unless_in_doubt(round, slot, at, doubt::conclusion(record, findings, slot, reason));
    }
    if findings.lost_spend {
        return plan_loss(round, false, at);
    }
    if at.now >= record.expires_at {
        return Step::Finish(EndReason::Expired);
    }
    if record.parent.is_some() {
        return Step::Rest(record.expires_at);
    }
    if let Some(intent) = record.intent.filter(|intent| findings.declared == Some(intent.attempt)) {
        return Step::Spend(intent.slot);
    }
    if let Some(next) = doubt::asks_again_at(record, at).filter(|next| at.now < *next && !findings.doubted) {
        return Step::Rest(next);
    }
    if let Some(intent) = record.intent {
        return plan_unknown(round, intent, at);
    }
    if let Some(due) = record.due_at.filter(|due| at.now < *due) {
        return Step::Rest(due);
    }
    if is_of_an_earlier_life(record, findings) {
        return plan_recreated(round, at);
    }
    if record.anchor.is_some() && !findings.anchored {
        return plan_anchor(round, at);
    }
    plan_pair(round, at)
}

fn plan_pair(round: &Round, at: &DecisionInput<'_>) -> Step {
    let record = &round.record;
    if record.session_ends_at.is_some() && record.owns_session() {
        return Step::Impersonate;
    }
    // At the announced end the probe has the last word: should the session live on after all, so does the job.
    let renew_at = record.session_ends_at.max(record.renew_at);
    let later = renew_at.filter(|renew_at| at.now < *renew_at && record.state == State::Active);
    match (round.findings.probed(Slot::Current), later) {
        (None, _) => Step::Probe(Slot::Current),
        (Some(true), Some(renew_at)) => Step::Rest(renew_at.min(at.now + at.settings.probe_interval)),
        (Some(true), None) => wait_for_the_logout(record, at).unwrap_or_else(|| plan_renewal(round, at)),
        (Some(false), _) => plan_gone(round, at),
    }
}

/// The pair is to be replaced, and its refresh token is active.
fn plan_renewal(round: &Round, at: &DecisionInput<'_>) -> Step {
    let record = &round.record;
    if !may_exchange(round, at) {
        Step::Declare(Slot::Current)
    } else if !round.findings.joining {
        Step::Exchange(Slot::Current)
    } else if is_pressed(record, at) && unsent(record, Slot::Spare) {
        // A refresh hurts nobody who joins, and should its answer be lost, there is another token.
        Step::Declare(Slot::Current)
    } else {
        Step::Rest(at.now + JOINING_PAUSE)
    }
}

/// The end of a client session is noted when a job of it learns of it, which may be after a newer job has begun the next
/// life: then that job's pair was noted under the old number. The probe tells the two apart and harms neither. An
/// exchange would end the user's session should the probe be overtaken; a refresh would just be refused, and what it
/// brings is certainly of the life known by now.
fn plan_recreated(round: &Round, at: &DecisionInput<'_>) -> Step {
    match round.findings.probed(Slot::Current) {
        None => Step::Probe(Slot::Current),
        Some(true) => wait_for_the_logout(&round.record, at).unwrap_or(Step::Declare(Slot::Current)),
        // Of the new life or not, it may be dead for a while only, or be older than one that somebody holds.
        Some(false) => plan_gone(round, at),
    }
}

fn may_exchange(round: &Round, at: &DecisionInput<'_>) -> bool {
    at.settings.may_exchange
        && !round.findings.exchange_barred
        && round.record.pair.as_ref().is_some_and(|pair| is_exchangeable(pair, at))
}

/// A logout of the session was announced a moment ago, and it still seems to live: nothing is sent, and Keycloak is asked again.
fn wait_for_the_logout(record: &Record, at: &DecisionInput<'_>) -> Option<Step> {
    let until = doubt::logging_out(record.announced_at, at.now)?;
    Some(Step::Rest(until.min(at.now + at.settings.retry_max)))
}

/// The newest refresh token is no longer active. While its access token is, that one brings the next pair; an earlier
/// refresh token may be active. If not, the session has ended, unless Keycloak errs.
fn plan_gone(round: &Round, at: &DecisionInput<'_>) -> Step {
    let record = &round.record;
    let spare = || if doubt::is_in_the_middle(round, Slot::Current, at) { None } else { plan_spare(round, at) };
    if let Some(step) = plan_access(round, Slot::Current, at).or_else(spare) {
        return step;
    }
    if let Some(step) = wait_with_access(round, Slot::Current, at) {
        return step;
    }
    // The announced end is counted from whole seconds, and may come a little before the token's.
    let lapsed = lapsed(record, Slot::Current, at) || record.session_ends_at.is_some_and(|end| end <= at.now);
    match (lapsed, record.state) {
        // As it was told to be: nobody else ended it, as far as is known.
        (true, _) if record.owns_session() && !may_have_been_ended(record) => Step::Impersonate,
        (true, _) => Step::Finish(EndReason::SessionExpired),
        (false, State::Suspended(_)) if !doubt::is_announced(record, at.now) => {
            Step::Rest(at.now + at.settings.retry_max)
        }
        (false, _) => plan_end(round, at),
    }
}

/// Whether the pair was found dead before its life was over, and somebody may have ended its session.
fn may_have_been_ended(record: &Record) -> bool {
    record.lost_since.is_some() || doubt::about(record, Slot::Current).is_some()
}

/// A dead refresh token is not the pair's end while the access token lives: asking about that one is harmless, and its exchange
/// brings the next pair where it is active and of this life. A second look comes first: Keycloak may be in the middle of
/// ending the session, and an exchange would keep it alive.
fn plan_access(round: &Round, slot: Slot, at: &DecisionInput<'_>) -> Option<Step> {
    let (record, findings) = (&round.record, &round.findings);
    if !access_lives(round, slot, at) || doubt::is_announced(record, at.now) {
        return None;
    }
    let (joining, may_exchange) = match slot {
        Slot::Anchor => (findings.anchor_joining, may_exchange_anchor(round, at)),
        Slot::Current | Slot::Spare => (findings.joining, may_exchange(round, at)),
    };
    match findings.accessed(slot) {
        None if doubt::is_denied(round, slot, at) => None,
        None => Some(Step::Introspect(slot)),
        Some(false) => None,
        Some(true) if !may_exchange => None,
        Some(true) if joining => Some(Step::Rest(at.now + JOINING_PAUSE)),
        Some(true) if doubt::is_confirmed(round, slot, at.settings) => Some(Step::Exchange(slot)),
        Some(true) if findings.doubted => doubt::asks_again_at(record, at).map(Step::Rest),
        Some(true) => Some(Step::Doubt(slot)),
    }
}

/// The access token is active, and must not be exchanged: the session lives, but nothing can be done for its pair. It is served
/// for as long as it lives.
fn wait_with_access(round: &Round, slot: Slot, at: &DecisionInput<'_>) -> Option<Step> {
    let active = round.findings.accessed(slot) == Some(true) && access_lives(round, slot, at);
    let dies_at = round.record.pair_in(slot)?.access_expires_at;
    active.then(|| Step::Rest(dies_at.min(at.now + at.settings.retry_max)))
}

/// What the access token of a slot is still good for, where its refresh token is not.
fn plan_by_access(round: &Round, slot: Slot, at: &DecisionInput<'_>) -> Option<Step> {
    plan_access(round, slot, at).or_else(|| wait_with_access(round, slot, at))
}

/// Whether there is still something to be asked about the access token of a slot, which is of this life.
fn access_lives(round: &Round, slot: Slot, at: &DecisionInput<'_>) -> bool {
    let (record, findings) = (&round.record, &round.findings);
    let earlier = match slot {
        Slot::Anchor => !anchor_is_of_this_life(record, findings),
        Slot::Current | Slot::Spare => is_of_an_earlier_life(record, findings),
    };
    let lives = record.pair_in(slot).is_some_and(|pair| pair.access_expires_at > at.now + EXCHANGE_MARGIN);
    lives && !earlier && !findings.subject_refused
}

/// Whether the newest refresh token certainly was not spent, so that sending it to learn why it is dead cannot count as
/// reuse. That nobody noted a spend is enough only where the store has not lost the note: where it has lived on unbroken
/// since it wrote the pair, or since there was no reason yet to spend it.
fn never_spent(round: &Round, at: &DecisionInput<'_>) -> bool {
    let record = &round.record;
    let since_the_doubt = doubt::about(record, Slot::Current)
        .is_some_and(|doubt| doubt.unspent_in.is_some() && doubt.unspent_in == round.findings.epoch);
    unsent(record, Slot::Current)
        && record
            .pair
            .as_ref()
            .is_some_and(|pair| is_unbroken(round, pair) || since_the_doubt || needless_to_spend(&round.record, at))
}

/// Nothing of the pair is active: the session is over, if every answer says so for long enough.
fn plan_end(round: &Round, at: &DecisionInput<'_>) -> Step {
    let (record, findings, slot) = (&round.record, &round.findings, Slot::Current);
    if let Some(why) = doubt::about(record, slot).and_then(|doubt| doubt.why) {
        return unless_in_doubt(round, slot, at, doubt::conclusion(record, findings, slot, why));
    }
    if never_spent(round, at) {
        return unless_in_doubt(round, slot, at, Step::Declare(slot));
    }
    let Some(since) = record.lost_since else { return Step::DoubtStore };
    let reason = match record {
        _ if is_of_an_earlier_life(record, findings) => EndReason::SessionRecreated,
        // Its owner may have spent what it deposited.
        record if is_deposit(record) => EndReason::SessionLost,
        _ if doubt::is_announced(record, at.now) => return Step::Finish(EndReason::SessionNotActive),
        // The user may just be disabled, and be enabled again.
        _ if at.now < since + STORE_DOUBT => return Step::Rest(since + STORE_DOUBT),
        _ => return Step::Suspend,
    };
    let end = if at.now < since + STORE_DOUBT { Step::Rest(since + STORE_DOUBT) } else { Step::Finish(reason) };
    unless_in_doubt(round, slot, at, end)
}

/// Whether the pair is still the one that was deposited.
fn is_deposit(record: &Record) -> bool {
    record.acquisition == Acquisition::Adopt
        && record.pair.as_ref().is_some_and(|pair| pair.issued_at <= record.created_at)
}

/// A spend was declared and its outcome is not known: after a crash, a time-out, a 5xx or a cut answer.
fn plan_unknown(round: &Round, intent: Intent, at: &DecisionInput<'_>) -> Step {
    let (record, findings) = (&round.record, &round.findings);
    let slots: &[Slot] = match intent.slot {
        Slot::Anchor => &[Slot::Anchor],
        Slot::Current | Slot::Spare => &[Slot::Current, Slot::Spare],
    };
    if doubt::is_announced(record, at.now) {
        // The session is ending, and with it what was spent in it: its fate need not be waited for.
        let watched = if record.anchor.is_some() { Slot::Anchor } else { Slot::Current };
        match findings.probed(watched) {
            None => return Step::Probe(watched),
            Some(false) => return Step::Finish(EndReason::SessionNotActive),
            Some(true) => {}
        }
    }
    if at.now < intent.deadline {
        let spare = (intent.slot != Slot::Anchor).then(|| plan_spare(round, at)).flatten();
        return spare.unwrap_or(Step::Rest(intent.deadline));
    }
    // This one may never have arrived. Nor may those that were sent before it; their deadlines have passed as well.
    for slot in slots.iter().copied().filter(|slot| record.slot(*slot).is_some()) {
        match findings.probed(slot) {
            None => return Step::Probe(slot),
            Some(true) if may_resend(record, slot, at.settings.max_reuse) => {
                return wait_for_the_logout(record, at).unwrap_or(Step::Declare(slot));
            }
            Some(_) => {}
        }
    }
    // With a max reuse an active token may be spent all the same, and asking again would tell no more.
    let exhausted = slots.iter().any(|slot| findings.probed(*slot) == Some(true));
    match intent.slot {
        _ if intent.learning && doubt::is_announced(record, at.now) => Step::Finish(EndReason::SessionNotActive),
        slot if intent.learning && !lapsed(record, slot, at) => Step::Suspend,
        Slot::Anchor if intent.learning => Step::Finish(EndReason::SessionNotActive),
        // Without its anchor an impersonated job is not watched any more, and must not go on.
        slot @ Slot::Anchor => plan_by_access(round, slot, at).unwrap_or_else(|| {
            let end = Step::Finish(EndReason::SpendLost);
            if exhausted { end } else { unless_in_doubt(round, slot, at, end) }
        }),
        Slot::Current | Slot::Spare if findings.taken < record.reserve.len() => Step::NextSpare,
        Slot::Current if intent.learning => Step::Finish(EndReason::SessionLost),
        _ => plan_by_access(round, Slot::Current, at).unwrap_or_else(|| plan_loss(round, exhausted, at)),
    }
}

/// An unsent token of an earlier generation, if there is one that is active.
fn plan_spare(round: &Round, at: &DecisionInput<'_>) -> Option<Step> {
    let (record, findings) = (&round.record, &round.findings);
    if unsent(record, Slot::Spare) {
        match findings.probed(Slot::Spare) {
            None => return Some(Step::Probe(Slot::Spare)),
            Some(true) => return Some(wait_for_the_logout(record, at).unwrap_or(Step::Declare(Slot::Spare))),
            Some(false) => {}
        }
    }
    let more = findings.taken < record.reserve.len() && record.reserve.iter().any(|token| token.sends == 0);
    more.then_some(Step::NextSpare)
}

/// An active probe means unspent only where reuse is not allowed at all; else the durable count of sends decides.
fn may_resend(record: &Record, slot: Slot, max_reuse: u32) -> bool {
    max_reuse == 0 || record.slot(slot).is_some_and(|token| token.sends <= max_reuse)
}

/// The vault's own spend is lost for good: certainly, or if every answer says so for long enough. A new session of the vault's own
/// costs nobody anything.
fn plan_loss(round: &Round, certain: bool, at: &DecisionInput<'_>) -> Step {
    let end = Step::Finish(EndReason::SpendLost);
    match round.record.acquisition {
        Acquisition::Impersonate => Step::Impersonate,
        Acquisition::Exchange | Acquisition::Adopt if certain => end,
        Acquisition::Exchange | Acquisition::Adopt => unless_in_doubt(round, Slot::Current, at, end),
    }
}

/// The user's session is watched by a pair of its own, which is renewed with every round so that it does not idle out. It is
/// spent only where half of its refresh token's life is over: nobody is served from it, and it has no spare.
fn plan_anchor(round: &Round, at: &DecisionInput<'_>) -> Step {
    let (record, findings) = (&round.record, &round.findings);
    let Some(anchor) = &record.anchor else { return plan_pair(round, at) };
    match findings.probed(Slot::Anchor) {
        None => Step::Probe(Slot::Anchor),
        Some(false) => plan_unwatched(round, &anchor.pair, at),
        Some(true) if record.renew_at.is_some_and(|renew_at| at.now < renew_at) => plan_pair(round, at),
        Some(true) => wait_for_the_logout(record, at).unwrap_or_else(|| plan_watch(round, &anchor.pair, at)),
    }
}

/// The watched pair is to be replaced, and its refresh token is active.
fn plan_watch(round: &Round, anchor: &Pair, at: &DecisionInput<'_>) -> Step {
    if may_exchange_anchor(round, at) {
        if !round.findings.anchor_joining {
            Step::Exchange(Slot::Anchor)
        } else if is_pressed(&round.record, at) {
            // The pair that is served lives elsewhere, and does not wait for the one that is watched.
            plan_pair(round, at)
        } else {
            Step::Rest(at.now + JOINING_PAUSE)
        }
    } else if half_over(anchor, at) {
        Step::Declare(Slot::Anchor)
    } else {
        plan_pair(round, at)
    }
}

fn may_exchange_anchor(round: &Round, at: &DecisionInput<'_>) -> bool {
    let (record, findings) = (&round.record, &round.findings);
    let may = anchor_is_of_this_life(record, findings) && !findings.exchange_barred && at.settings.may_exchange;
    may && record.anchor.as_ref().is_some_and(|anchor| is_exchangeable(&anchor.pair, at))
}

fn anchor_is_of_this_life(record: &Record, findings: &RoundFindings) -> bool {
    let ours = record.anchor.as_ref().map(|anchor| anchor.session.incarnation);
    findings.anchor_incarnation.is_none_or(|known| ours.is_some_and(|ours| known <= ours))
}

/// The user's session is over, if every answer says so for long enough, and unless its user is disabled, which can pass: then
/// the anchor's token is sent to learn which, where it certainly was not spent.
fn plan_unwatched(round: &Round, anchor: &Pair, at: &DecisionInput<'_>) -> Step {
    let (record, findings, slot) = (&round.record, &round.findings, Slot::Anchor);
    if let Some(step) = plan_by_access(round, slot, at) {
        return step;
    }
    let over = Step::Finish(EndReason::SessionNotActive);
    match record.state {
        _ if lapsed(record, slot, at) => over,
        State::Suspended(_) if !doubt::is_announced(record, at.now) => Step::Rest(at.now + at.settings.retry_max),
        _ => match doubt::about(record, slot).and_then(|doubt| doubt.why) {
            Some(why) => unless_in_doubt(round, slot, at, doubt::conclusion(record, findings, slot, why)),
            None if anchor.refresh.sends > 0 => unless_in_doubt(round, slot, at, over),
            None if is_unbroken(round, anchor) => unless_in_doubt(round, slot, at, Step::Declare(slot)),
            None if doubt::is_announced(record, at.now) => over,
            None => Step::Suspend,
        },
    }
}

/// Whether the store has lived on without a break since it wrote a pair.
fn is_unbroken(round: &Round, pair: &Pair) -> bool {
    pair.epoch.is_some() && pair.epoch == round.findings.epoch
}
