//! Instants and spans as Redis takes them: whole milliseconds.

use std::time::Duration;

use tokenvault_core::time::Timestamp;

/// The last instant that is exact as a score (a double) and accepted as an expiry: the end of the year 9999.
const LAST: u64 = 253_402_300_799_999;

/// How long an entry is kept whose jobs are not known: longer than a session of Keycloak's is usually allowed to live.
pub(crate) const ORPHAN_KEEP: Duration = Duration::from_hours(7 * 24);

/// A time in milliseconds, at most [`LAST`].
pub(crate) fn millis(at: Timestamp) -> u64 {
    at.as_millis().min(LAST)
}

/// A duration in milliseconds.
pub(crate) fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
