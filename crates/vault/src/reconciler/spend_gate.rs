//! At most so many spends at a time in one client session: Keycloak serialises them, and a queue of refreshes there was
//! seen to take seconds each.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokenvault_core::ids::SessionKey;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A semaphore per client session; forgotten when nobody holds it.
pub(super) struct SpendGate {
    limit: usize,
    sessions: Mutex<HashMap<SessionKey, Arc<Semaphore>>>,
}

impl SpendGate {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, sessions: Mutex::default() }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, session: &SessionKey) -> OwnedSemaphorePermit {
        let gate = {
            let mut sessions = self.sessions.lock();
            sessions.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(sessions.entry(session.clone()).or_insert_with(|| Arc::new(Semaphore::new(self.limit))))
        };
        gate.acquire_owned().await.expect("these semaphores are never closed")
    }
}
