//! What the store holds, behind one lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::fleet::FleetState;
use super::lists::Lists;
use super::records::Records;
use super::sessions::Sessions;
use crate::ports::Clock;
use crate::time::Timestamp;

/// Everything a store held at one instant, to be put back: what a restart from an old copy does to Redis.
#[derive(Clone)]
pub struct Snapshot(MemoryState);

/// Keeps records in memory.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<MemoryState>,
    epoch: AtomicU64,
}

#[derive(Clone, Default)]
pub(super) struct MemoryState {
    pub(super) records: Records,
    pub(super) sessions: Sessions,
    pub(super) lists: Lists,
    pub(super) fleet: FleetState,
}

impl MemoryStore {
    /// An empty store; the clock tells when keys expire.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), epoch: AtomicU64::new(1) }
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().0.clone())
    }

    /// Forgets everything since a snapshot was taken.
    pub fn restore(&self, snapshot: Snapshot) {
        *self.state().0 = snapshot.0;
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn epoch_number(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The state and the time.
    pub(super) fn state(&self) -> (MutexGuard<'_, MemoryState>, Timestamp) {
        (self.state.lock(), self.clock.now())
    }
}
