//! What is said in the log of a store that is away: why, once for each cause, and that it is back.
//!
//! Many parts of the process find it away at the same time; a hundred lines of one cause would hide the others.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use tokenvault_core::ports::{StoreCause, StoreError};
use tokenvault_core::time::Timestamp;
use tokio::time::Instant;

use crate::repeats::Repeats;

/// What was said of the store, whoever has asked it for something.
static SAID: LazyLock<Repeats<StoreCause>> = LazyLock::new(Repeats::default);

/// Whether it was said that it is away, and nothing since.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Why the store is away, once for each cause, and then once a minute.
pub fn say(error: &StoreError) {
    if let StoreError::Unavailable(cause) = error
        && let Some(before) = SAID.happened(*cause, uptime())
    {
        TOLD.store(true, Ordering::Relaxed);
        tracing::warn!(cause = cause.code(), before, "{error}");
    }
}

/// How long the process runs, as an instant: what counts here is only the time between two of them.
fn uptime() -> Timestamp {
    static START: LazyLock<Instant> = LazyLock::new(instant);
    let began = *START;
    Timestamp::from_millis(u64::try_from(instant().duration_since(began).as_millis()).unwrap_or(u64::MAX))
}

/// This instant, to measure a span with.
#[expect(clippy::disallowed_methods, reason = "it measures a span and tells no time")]
pub fn instant() -> Instant {
    Instant::now()
}

/// What could not be done because of the store. Where it is away, that is said, and what is missing for it is no news.
pub fn not_done(error: &StoreError, what: &'static str) {
    say(error);
    if matches!(error, StoreError::Unavailable(_)) {
        tracing::debug!(%error, "{what}");
    } else {
        tracing::warn!(%error, "{what}");
    }
}

/// That the store is back, where it was said that it is away.
pub fn answers_again() {
    if TOLD.swap(false, Ordering::Relaxed) {
        tracing::info!("the store answers again");
    }
}
