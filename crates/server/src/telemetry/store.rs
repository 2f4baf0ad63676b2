//! The store, with the time each of its operations takes. Changes nothing else about it.

use std::sync::Arc;

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
use super::traces;

/// A store whose operations are measured.
pub struct Measured {
    store: Arc<dyn TokenStore>,
    metrics: Arc<Metrics>,
}

impl Measured {
    /// Measures a store.
    pub fn new(store: Arc<dyn TokenStore>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
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
