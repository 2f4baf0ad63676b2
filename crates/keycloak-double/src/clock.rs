//! Where the stand-in's time comes from. Everything else is handed milliseconds; only [`DoubleSystemClock`] reads the system.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A source of wall-clock time.
pub trait DoubleClock: Send + Sync + 'static {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64;
}

impl<F> DoubleClock for F
where
    F: Fn() -> u64 + Send + Sync + 'static,
{
    fn now_ms(&self) -> u64 {
        self()
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct DoubleSystemClock;

impl DoubleClock for DoubleSystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the adapter through which the system's time is read")]
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is moved. Clones share their time.
#[derive(Debug, Clone)]
pub struct DoubleManualClock(Arc<AtomicU64>);

impl DoubleManualClock {
    /// A clock that shows `now_ms` (milliseconds since the epoch).
    pub fn new(now_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(now_ms)))
    }

    /// Moves the time on.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl DoubleClock for DoubleManualClock {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A running clock that can be put forward, so that hours pass at once. Clones share the shift.
#[derive(Clone)]
pub struct ShiftedClock {
    base: Arc<dyn DoubleClock>,
    shift: Arc<AtomicU64>,
}

impl ShiftedClock {
    /// A clock that runs with `base` and is put forward by [`ShiftedClock::advance`].
    pub fn new(base: impl DoubleClock) -> Self {
        Self { base: Arc::new(base), shift: Arc::default() }
    }

    /// Puts the clock forward.
    pub fn advance(&self, by: Duration) {
        self.shift.fetch_add(millis(by), Ordering::SeqCst);
    }
}

impl DoubleClock for ShiftedClock {
    fn now_ms(&self) -> u64 {
        self.base.now_ms().saturating_add(self.shift.load(Ordering::SeqCst))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
