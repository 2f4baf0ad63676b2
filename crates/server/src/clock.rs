//! The machine's clock, the one place that reads it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokenvault_core::ports::Clock;
use tokenvault_core::time::Timestamp;

/// Wall-clock time that never runs behind the time that has passed since the process started: when the wall clock is set
/// back, tokens still expire when they do.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
    started_at: Timestamp,
}

impl SystemClock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { started: monotonic(), started_at: wall() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        wall().max(self.started_at + monotonic().duration_since(self.started))
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
fn monotonic() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}
