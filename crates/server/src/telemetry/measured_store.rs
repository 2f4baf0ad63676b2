//! The store, with the time each of its operations takes, and with what is said while it is away. Changes nothing else about
//! it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokenvault_core::ports::{LayeredStore, StoreError, StoreLayer, TokenStore};
use tokenvault_vault::store_news::{self, instant};
use tracing::Instrument;

use super::metrics::Metrics;
use super::traces;

/// Measures the operations of a store.
pub struct MeasuredStore {
    store: Arc<dyn TokenStore>,
    metrics: Arc<Metrics>,
    away: AtomicBool,
}

impl MeasuredStore {
    /// A store whose operations are measured.
    pub fn around(store: Arc<dyn TokenStore>, metrics: Arc<Metrics>) -> LayeredStore<Self> {
        LayeredStore(Self { store, metrics, away: AtomicBool::new(false) })
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
                let refused = error.is_refusal_to_write() && !error.is_elsewhere();
                if matches!(error, StoreError::Unavailable(_)) && !refused {
                    self.away.store(true, Ordering::Relaxed);
                }
            }
            Ok(_) => {}
        }
    }
}

impl StoreLayer for MeasuredStore {
    fn store(&self, _operation: &'static str) -> Result<Arc<dyn TokenStore>, StoreError> {
        Ok(Arc::clone(&self.store))
    }

    /// Notes how long it took.
    async fn carry_out<T: Send>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let started = instant();
        let span = traces::store(operation);
        let answer = answer.instrument(span.clone()).await;
        self.report_availability(&answer);
        if let Err(error) = &answer {
            traces::store_failed(&span, error);
        }
        self.metrics.parts.store_operation(operation, started.elapsed());
        answer
    }
}
