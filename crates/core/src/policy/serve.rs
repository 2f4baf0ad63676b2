//! `serve`: what a read is answered.

use std::time::Duration;

use crate::ports::CLOCK_SWAY;
use crate::record::{EndReason, ReadView};
use crate::time::Timestamp;

/// No token is served whose rest would be gone before its first use.
const LEAST: Duration = Duration::from_secs(1);

/// The least life a token is served with: what it needs to be used, and as much as a clock that runs slow
/// ([`CLOCK_SWAY`]) may have missed of a whole life.
pub fn least_left(life: Duration) -> Duration {
    (LEAST + life / CLOCK_SWAY).min(life / 4).max(Duration::from_millis(1))
}

/// A pair from further in the future than this was stamped by a clock that ran ahead: when it expires is not known.
const FUTURE: Duration = Duration::from_secs(2);

/// A fresh token is this many seconds old at most when it is served: one for whole seconds, one for the way.
const AGED: u64 = 2;

/// What a reader asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask {
    /// The least life the token must have left, if the reader said so.
    pub min_ttl: Option<Duration>,
    /// The least life where the reader said nothing; cut to a third of the tenant's access token life.
    pub default_min_ttl: Duration,
}

/// What a read is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// The token as it stands, with this much left.
    Token(Duration),
    /// A newer one is needed first.
    Renew,
    /// No renewal can ever give that much; this is the most.
    TooDemanding(Duration),
    /// The job is over.
    Ended(EndReason),
}

/// Decides what to answer from a record that has a pair of its own (not a child's).
pub fn serve(record: &ReadView, ask: &Ask, now: Timestamp) -> Serve {
    if let Some(reason) = record.state.end() {
        return Serve::Ended(reason);
    }
    if now >= record.terms.expires_at {
        return Serve::Ended(EndReason::Expired);
    }
    let Some(access) = record.access.as_ref().filter(|access| access.issued_at <= now + FUTURE) else {
        return Serve::Renew;
    };
    // Its session is dead, or its pair is not the newest.
    if record.is_lost {
        return Serve::Renew;
    }
    let life = record.access_life;
    let most = Duration::from_secs(life.as_secs().saturating_sub(AGED));
    let least = least_left(life);
    let wanted = match ask.min_ttl {
        Some(min_ttl) if min_ttl > most => return Serve::TooDemanding(most),
        Some(min_ttl) => min_ttl,
        None => ask.default_min_ttl.min(life / 3),
    };
    let left = access.expires_at.since(now);
    if left >= wanted.max(least) {
        return Serve::Token(left);
    }
    // While the end of the session is in doubt nothing newer can come.
    if ask.min_ttl.is_none() && left >= least && record.is_in_doubt {
        return Serve::Token(left);
    }
    match record.session_ends_at {
        // Nothing longer will come; an honest answer beats a wait.
        Some(_) if !record.owns_session() && left >= least => {
            if ask.min_ttl.is_some() {
                Serve::TooDemanding(Duration::from_secs(left.as_secs()))
            } else {
                Serve::Token(left)
            }
        }
        _ => Serve::Renew,
    }
}
