//! The store, with the time each of its operations takes, and with what is said while it is away. Changes nothing else about
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokenvault_core::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use tokenvault_core::ports::{
    Claim, Claimed, Clock, Created, Join, Joined, Lease, SessionEntry, SessionLook, StoreError, Stored, TokenStore,
    Write, Written,
};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;
use tokio::time::Instant;
use tracing::Instrument;

use super::metrics::Metrics;
use super::repeats::Repeats;
use super::traces;

/// What is said when it answers.
const ANSWERS_AGAIN: &str = "the store answers again";

/// A store whose operations are measured.
pub struct Measured {
    store: Arc<dyn TokenStore>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    said: Repeats<&'static str>,
    away: AtomicBool,
}

impl Measured {
    /// Measures a store.
    pub fn new(store: Arc<dyn TokenStore>, metrics: Arc<Metrics>, clock: Arc<dyn Clock>) -> Self {
        Self { store, metrics, clock, said: Repeats::default(), away: AtomicBool::new(false) }
    }

    /// Says why the store is away, and that it is back. Whoever cannot do something without it need not say so again.
    fn heard<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Ok(_) if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) => {
                if let Some(before) = self.said.happened(ANSWERS_AGAIN, self.clock.now()) {
                    tracing::info!(before, "{ANSWERS_AGAIN}");
                }
            }
            Err(error @ StoreError::Unavailable(cause)) => {
                // What takes no writes may answer reads: an answer is no news of those.
                if !error.is_refusal_to_write() || *error == StoreError::ELSEWHERE {
                    self.away.store(true, Ordering::Relaxed);
                }
                if let Some(before) = self.said.happened(cause, self.clock.now()) {
                    tracing::warn!(cause, before, "{error}");
                }
            }
            _ => {}
        }
    }
}

/// What could not be done because of the store. Where it is away, that was said, and what is missing for it is no news.
pub fn not_done(error: &StoreError, what: &'static str) {
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
                #[expect(clippy::disallowed_methods, reason = "it measures a span and tells no time")]
                let started = Instant::now();
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
