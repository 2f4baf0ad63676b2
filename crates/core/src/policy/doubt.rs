//! Whether a *no* of the identity provider's is believed: when the next one is asked for, and what counts as evidence.

use std::time::Duration;

use super::input::{DecisionInput, Settings};
use super::round::{Round, RoundFindings};
use super::step::Step;
use crate::record::{Acquisition, Doubt, EndReason, Record, Slot};
use crate::time::Timestamp;

/// The least pause between two questions.
const LEAST_PAUSE: Duration = Duration::from_millis(250);

/// How long a logout token makes the first no the last. Keycloak asks its clients one after the other, five seconds each at
/// most, and ends the session then.
const ANNOUNCED: Duration = Duration::from_mins(1);

/// For how long after a logout token nothing is exchanged: an exchange that meets Keycloak in the middle of removing a session
/// can keep it alive.
const LOGGING_OUT: Duration = Duration::from_secs(25);

/// A gap of so many pauses, and what was said before it is no evidence any more: somebody else may have heard a yes meanwhile,
/// an older version for example, which leaves the doubt as it is.
const STALE_AFTER: u32 = 60;

/// Whether a signed logout token of the session was heard a short while ago.
pub(super) fn is_announced(record: &Record, now: Timestamp) -> bool {
    record.announced_at.is_some_and(|heard_at| now < heard_at + ANNOUNCED)
}

/// Until when nothing is exchanged, because the session may just be ending.
pub fn logging_out(announced_at: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
    announced_at.map(|heard_at| heard_at + LOGGING_OUT).filter(|until| now < *until)
}

/// The doubt that is about a slot's session.
pub(super) fn about(record: &Record, slot: Slot) -> Option<&Doubt> {
    record.standing_doubt().filter(|doubt| (doubt.slot == Slot::Anchor) == (slot == Slot::Anchor))
}

/// When the next answer is asked for. Nobody hurries it but a logout token.
pub(super) fn asks_again_at(record: &Record, at: &DecisionInput<'_>) -> Option<Timestamp> {
    let doubt = record.standing_doubt().filter(|_| !is_announced(record, at.now))?;
    Some(doubt.heard_at + pause(record, doubt, at))
}

/// A little while; less where the doubt ends, or where the access token would die before the second look, which may
/// save the pair.
fn pause(record: &Record, doubt: &Doubt, at: &DecisionInput<'_>) -> Duration {
    let left =
        record.pair_in(doubt.slot).map(|pair| pair.access_expires_at.since(at.now)).filter(|left| !left.is_zero());
    let most = at.settings.doubt_pause.min(at.settings.doubt.saturating_sub(doubt.lasted));
    left.filter(|_| doubt.lasted.is_zero()).map_or(most, |left| most.min((left / 4).max(LEAST_PAUSE)))
}

/// What `conclusion` has to wait for: every answer must have been no for long enough, or the end have been announced.
pub(super) fn unless_in_doubt(round: &Round, slot: Slot, at: &DecisionInput<'_>, conclusion: Step) -> Step {
    let (record, findings) = (&round.record, &round.findings);
    let lasted = about(record, slot).map(|doubt| doubt.lasted).unwrap_or_default();
    if lasted >= at.settings.doubt || is_announced(record, at.now) {
        conclusion
    } else if findings.doubted {
        Step::Rest(asks_again_at(record, at).unwrap_or(at.now + at.settings.doubt_pause))
    } else {
        Step::Doubt(slot)
    }
}

/// Whether a no about the slot's session was heard before this round.
pub(super) fn is_confirmed(round: &Round, slot: Slot, settings: &Settings) -> bool {
    settings.doubt.is_zero() || (!round.findings.doubted && about(&round.record, slot).is_some())
}

/// Whether a look is neither the first nor the last of a doubt. What has been dead so far is asked about again in the last:
/// where Keycloak only erred, the newest token tells.
pub(super) fn is_in_the_middle(round: &Round, slot: Slot, at: &DecisionInput<'_>) -> bool {
    // What this look has counted does not change what it asks about.
    let next = if round.findings.doubted { Duration::ZERO } else { at.settings.doubt_pause * 3 / 2 };
    let nearly = |doubt: &Doubt| doubt.lasted + next >= at.settings.doubt;
    about(&round.record, slot).is_some_and(|doubt| !doubt.lasted.is_zero() && !nearly(doubt))
}

/// Whether the access token was inactive in an earlier look, and is not asked about in this one.
pub(super) fn is_denied(round: &Round, slot: Slot, at: &DecisionInput<'_>) -> bool {
    about(&round.record, slot).is_some_and(|doubt| doubt.denied) && is_in_the_middle(round, slot, at)
}

/// What follows from a reason that a refusal gave. Where the token is at fault and not the session, as after the removal of
/// the key it was signed with, a session of the vault's own is acquired anew; but not where its access token was refused
/// as well.
pub(super) fn conclusion(record: &Record, findings: &RoundFindings, slot: Slot, reason: EndReason) -> Step {
    let denied = findings.accessed(slot) == Some(false) || about(record, slot).is_some_and(|doubt| doubt.denied);
    match (reason, record.acquisition) {
        (EndReason::TokenRefused, Acquisition::Impersonate) if slot != Slot::Anchor && !denied => Step::Impersonate,
        _ => Step::Finish(reason),
    }
}

/// Counts a no. The time between two of them is evidence from the one that was counted to when the next was heard, however
/// late whoever heard it comes to count it.
pub(super) fn count(
    record: &mut Record,
    findings: &mut RoundFindings,
    slot: Slot,
    unspent: bool,
    at: &DecisionInput<'_>,
) {
    findings.doubted = true;
    let why = findings.refused.map(|(_, reason)| reason);
    let denied = findings.accessed(slot) == Some(false);
    let fresh =
        |doubt: &&Doubt| doubt.why.is_some() || at.now.since(doubt.heard_at) <= at.settings.doubt_pause * STALE_AFTER;
    let before = about(record, slot).filter(fresh).copied();
    let heard_at = findings.no_at.unwrap_or(at.now);
    record.doubt = Some(match before {
        Some(doubt) => Doubt {
            // The first look may have found the access token active, which is no no.
            lasted: if denied && !doubt.denied && doubt.lasted.is_zero() {
                Duration::ZERO
            } else {
                // Nobody knows what was true while nobody asked.
                doubt.lasted + heard_at.since(doubt.heard_at).min(at.settings.doubt_pause * 3 / 2)
            },
            heard_at: at.now,
            why: why.or(doubt.why),
            denied: denied || doubt.denied,
            ..doubt
        },
        None => Doubt {
            slot,
            generation: record.generation,
            lasted: Duration::ZERO,
            heard_at: at.now,
            why,
            denied,
            unspent_in: findings.epoch.filter(|_| unspent),
        },
    });
}

/// A refresh token is active. That a refresh token was *refused* stays in mind until a pair is issued: who says yes to a probe
/// and no to a refresh is asked again at the same pace.
pub(super) fn lift(record: &mut Record, slot: Slot) {
    if about(record, slot).is_some_and(|doubt| doubt.why.is_none()) {
        record.doubt = None;
    }
}
