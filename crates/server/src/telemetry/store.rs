//! The store, with the time each of its operations takes, and with what is said while it is away. Changes nothing else about
//! it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use tokenvault_core::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use tokenvault_core::ports::{
    Claim, Claimed, Created, Join, Joined, Lease, SessionEntry, SessionLook, StoreError, Stored, TokenStore, Write,
    Written,
};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;
use tokio::time::Instant;
use tracing::Instrument;

use super::metrics::Metrics;
use super::repeats::Repeats;
use super::traces;

/// What was said of the store, whoever has asked it for something.
static SAID: LazyLock<Repeats<&'static str>> = LazyLock::new(Repeats::default);

/// Whether it was said that it is away, and nothing since.
static TOLD: AtomicBool = AtomicBool::new(false);

/// A store whose operations are measured.
pub struct Measured {
    store: Arc<dyn TokenStore>,
    metrics: Arc<Metrics>,
    away: AtomicBool,
}

impl Measured {
    /// Measures a store.
    pub fn new(store: Arc<dyn TokenStore>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, away: AtomicBool::new(false) }
    }

    /// Says why the store is away, and that it is back. Whoever cannot do something without it need not say so again.
    fn heard<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Ok(_) if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) => {
                // Who was told that it is away is told that it is back.
                if TOLD.swap(false, Ordering::Relaxed) {
                    tracing::info!("the store answers again");
                }
            }
            Err(error) => {
                say(error);
                // What takes no writes may answer reads: an answer is no news of those.
                let refused = error.is_refusal_to_write() && *error != StoreError::ELSEWHERE;
                if matches!(error, StoreError::Unavailable(_)) && !refused {
                    self.away.store(true, Ordering::Relaxed);
                }
            }
            Ok(_) => {}
        }
    }
}

/// Why the store is away, once for each cause, and then once a minute.
pub fn say(error: &StoreError) {
    if let StoreError::Unavailable(cause) = error
        && let Some(before) = SAID.happened(cause, uptime())
    {
        TOLD.store(true, Ordering::Relaxed);
        tracing::warn!(cause, before, "{error}");
    }
}

/// How long the process runs, as an instant: what counts here is only the time between two of them.
fn uptime() -> Timestamp {
    static START: LazyLock<Instant> = LazyLock::new(instant);
    let began = *START;
    Timestamp::from_millis(u64::try_from(instant().duration_since(began).as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "it measures a span and tells no time")]
fn instant() -> Instant {
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

/// Hands each method on, and notes how long it took.
macro_rules! hand_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl TokenStore for Measured {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                let started = instant();
                let span = traces::store(stringify!($name));
                let answer = self.store.$name($($argument),*).instrument(span.clone()).await;
                self.heard(&answer);
                if let Err(error) = &answer {
                    traces::store_failed(&span, error);
                }
                self.metrics.store_operation(stringify!($name), started.elapsed());
                answer
            })*
        }
    };
}

tokenvault_core::store_operations!(hand_on);
