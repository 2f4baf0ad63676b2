//! One fetch at a time: whoever asks while one is under way waits for it and shares how it went.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// A place from which one fetch at a time is flown.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    last: Mutex<Option<T>>,
    landings: AtomicU64,
}

/// Taken before one looks at what there is, so that a fetch that lands in between is not flown again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket(u64);

impl<T> Default for Flight<T> {
    fn default() -> Self {
        Self { last: Mutex::new(None), landings: AtomicU64::new(0) }
    }
}

impl<T: Clone> Flight<T> {
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket(self.landings.load(Ordering::SeqCst))
    }

    /// Whether a fetch is under way.
    pub(crate) fn busy(&self) -> bool {
        self.last.try_lock().is_err()
    }

    /// Fetches, unless a fetch has landed since the ticket was taken. If the one who fetches goes away, the next does.
    pub(crate) async fn board(&self, ticket: Ticket, fetch: impl Future<Output = T>) -> T {
        let mut last = self.last.lock().await;
        if let Some(outcome) = last.as_ref()
            && self.landings.load(Ordering::SeqCst) != ticket.0
        {
            return outcome.clone();
        }
        let outcome = fetch.await;
        *last = Some(outcome.clone());
        self.landings.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}
