//! The store, with the time each of its operations takes, and with what is said while it is away. Changes nothing else about
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
use tokenvault_vault::store_news::{self, instant};
use tracing::Instrument;

use super::metrics::Metrics;
use super::traces;

/// A store whose operations are measured.
pub struct MeasuredStore {
    store: Arc<dyn TokenStore>,
    metrics: Arc<Metrics>,
    away: AtomicBool,
}

impl MeasuredStore {
    /// Measures a store.
    pub fn new(store: Arc<dyn TokenStore>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics, away: AtomicBool::new(false) }
    }

    /// Says why the store is away, and that it is back. Whoever cannot do something without it need not say so again.
    fn report_availability<T>(&self, answer: &Result<T, StoreError>) {
        match answer {
            Ok(_) if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) => {
                store_news::answers_again();
            }
            Err(error) => {
                store_news::say(error);
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

/// Hands each method on, and notes how long it took.
macro_rules! hand_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl TokenStore for MeasuredStore {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                let started = instant();
                let span = traces::store(stringify!($name));
                let answer = self.store.$name($($argument),*).instrument(span.clone()).await;
                self.report_availability(&answer);
                if let Err(error) = &answer {
                    traces::store_failed(&span, error);
                }
                self.metrics.parts.store_operation(stringify!($name), started.elapsed());
                answer
            })*
        }
    };
}

tokenvault_core::store_operations!(hand_on);
