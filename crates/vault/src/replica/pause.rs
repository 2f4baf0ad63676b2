//! Whether operators have paused renewal.

use std::sync::atomic::{AtomicU64, Ordering};

use tokenvault_core::time::Timestamp;

/// Until when renewal is paused, as it was heard last. A pause ends at its limit even where the store cannot be asked.
#[derive(Debug, Default)]
pub struct PauseState {
    /// Milliseconds since the epoch; 0 where there is no pause.
    until: AtomicU64,
}

impl PauseState {
    /// Hears until when renewal is paused; `None` where it is not.
    pub fn hear(&self, until: Option<Timestamp>) {
        self.until.store(until.map_or(0, Timestamp::as_millis), Ordering::Relaxed);
    }

    /// Whether no renewal may begin now.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        now.as_millis() < self.until.load(Ordering::Relaxed)
    }
}
