//! How long a job waits whose newest token nobody has read.
//!
//! Half of a token's life is kept for its readers. Without readers the pair can wait longer, and Keycloak has less to do. The
//! record needs no field for this: its due time then lies by a certain span after the time of its renewal. The first read finds
//! that span, and brings the due time forward. Whoever does not know the span (an older replica, one with other settings) leaves
//! the job as it is: it is renewed a little later, and in time.

use std::time::Duration;

use super::input::Settings;
use crate::record::{Record, State};
use crate::time::Timestamp;

/// The part of a token's life after which it is renewed at the latest.
const LATEST: f64 = 0.8;
/// What an unread token has left at least when it is renewed: as long as most readers ask for, and longer than Keycloak restarts.
const LEAST_LEFT: Duration = Duration::from_mins(1);

/// Until when a record rests whose newest pair nobody has read yet; `None` where it is renewed as if it were read. Only what is
/// renewed by an exchange may wait: nothing is lost if that comes too late.
pub fn unread_until(record: &Record, settings: &Settings) -> Option<Timestamp> {
    let (pair, renew_at) = (record.pair.as_ref()?, record.renew_at?);
    let refresh_expires_at = pair.refresh.expires_at?;
    let may_wait = record.state == State::Active
        && record.anchor.is_none()
        && record.session_ends_at.is_none()
        && !pair.rotated
        && settings.may_exchange;
    let life = pair.access_expires_at.min(refresh_expires_at).since(pair.issued_at);
    let until = renew_at + span(life, settings)?;
    // Who is looked at in between is not found to be unread.
    (may_wait && until.since(pair.issued_at) <= settings.probe_interval).then_some(until)
}

/// By how much longer a pair of this life may wait. The same for each pair of one life, so that the jitter stays.
fn span(life: Duration, settings: &Settings) -> Option<Duration> {
    let latest = life.mul_f64(LATEST).min(life.saturating_sub(LEAST_LEFT));
    let usual = life.mul_f64((settings.fraction * (1.0 + settings.jitter)).clamp(0.05, 0.95));
    latest.checked_sub(usual).filter(|span| *span >= Duration::from_secs(1))
}

/// When a record is to be renewed now that its token is read, if nobody has read it before: the usual time, or now where that is
/// over.
pub fn due_once_read(record: &Record, settings: &Settings, now: Timestamp) -> Option<Timestamp> {
    // What has failed, or is in doubt, has a due time of its own.
    let is_well = record.failures == 0 && record.lost_since.is_none() && record.standing_doubt().is_none();
    let is_unread = is_well && record.due_at.is_some() && record.due_at == unread_until(record, settings);
    record.renew_at.filter(|_| is_unread).map(|renew_at| renew_at.max(now))
}
