//! What this replica knows of the fleet, for those who ask often: whether renewal is paused, and what it has in hand.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use tokenvault_core::time::Timestamp;

/// Shared by the member of the fleet, which hears, and the reconciler, which asks.
#[derive(Debug, Default)]
pub struct Standing {
    paused_until: AtomicU64,
    renewing: AtomicU32,
}

/// A renewal in hand, as long as this lives.
pub struct InHand<'a>(&'a Standing);

impl Standing {
    /// Hears until when renewal is paused; `None` where it is not.
    pub fn hear_pause(&self, until: Option<Timestamp>) {
        self.paused_until.store(until.map_or(0, Timestamp::as_millis), Ordering::Relaxed);
    }

    /// Whether nothing is to be claimed now. A pause ends at its limit even where the store cannot be asked.
    pub fn is_paused(&self, now: Timestamp) -> bool {
        now.as_millis() < self.paused_until.load(Ordering::Relaxed)
    }

    /// Takes a renewal in hand.
    pub fn take_in_hand(&self) -> InHand<'_> {
        self.renewing.fetch_add(1, Ordering::Relaxed);
        InHand(self)
    }

    /// How many renewals are in hand.
    pub fn renewing(&self) -> u32 {
        self.renewing.load(Ordering::Relaxed)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.renewing.fetch_sub(1, Ordering::Relaxed);
    }
}
