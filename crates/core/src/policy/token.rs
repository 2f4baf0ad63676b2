//! What a token of a record is still good for.

use std::time::Duration;

use super::input::DecisionInput;
use crate::record::{Pair, Record, Slot};

/// An access token with less than this left is not sent for exchange: it would expire on the way.
pub(super) const EXCHANGE_MARGIN: Duration = Duration::from_millis(300);

/// With no more than this part (1/n) of its life left, an access token waits for no registration any more: readers who name
/// no `min_ttl` are served until then.
const PRESSED: u32 = 3;

/// Whether its access token can be exchanged as far as the pair is concerned.
pub(super) fn is_exchangeable(pair: &Pair, at: &DecisionInput<'_>) -> bool {
    // An offline session's access token is always refused ("creating a new session is needed").
    pair.refresh.expires_at.is_some() && pair.access_expires_at > at.now + EXCHANGE_MARGIN
}

/// Whether waiting any longer would be at the readers' cost.
pub(super) fn is_pressed(record: &Record, at: &DecisionInput<'_>) -> bool {
    record.pair.as_ref().is_some_and(|pair| pair.access_expires_at.since(at.now) <= record.access_life / PRESSED)
}

/// While its access token lives there is no reason to spend a pair's refresh token, unless its client may not exchange, or
/// those who join its session have kept it waiting too long.
pub(super) fn needless_to_spend(record: &Record, at: &DecisionInput<'_>) -> bool {
    let needless =
        |pair: &Pair| !pair.rotated && at.settings.may_exchange && is_exchangeable(pair, at) && !is_pressed(record, at);
    unsent(record, Slot::Current) && record.pair.as_ref().is_some_and(needless)
}

/// Whether the life of its refresh token is over.
pub(super) fn lapsed(record: &Record, slot: Slot, at: &DecisionInput<'_>) -> bool {
    record.slot(slot).and_then(|token| token.expires_at).is_some_and(|end| end <= at.now)
}

/// Whether half of the life of its refresh token is over.
pub(super) fn half_over(pair: &Pair, at: &DecisionInput<'_>) -> bool {
    pair.refresh.expires_at.is_some_and(|end| end.since(at.now) <= at.now.since(pair.issued_at))
}

/// Whether its refresh token was never sent, as far as anybody has noted.
pub(super) fn unsent(record: &Record, slot: Slot) -> bool {
    record.slot(slot).is_some_and(|token| token.sends == 0)
}
