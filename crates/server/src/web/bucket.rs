//! A token bucket: how often something may be done, with room for bursts. It reads no clock.

use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::time::Timestamp;

/// It fills steadily, and each taking needs one.
pub struct Bucket {
    per_second: f64,
    capacity: f64,
    state: Mutex<Level>,
}

struct Level {
    tokens: f64,
    at: Option<Timestamp>,
}

impl Bucket {
    /// A full bucket that fills by so many a second, and holds so many.
    pub fn new(per_second: u32, capacity: u32) -> Self {
        let (per_second, capacity) = (f64::from(per_second.max(1)), f64::from(capacity.max(1)));
        Self { per_second, capacity, state: Mutex::new(Level { tokens: capacity, at: None }) }
    }

    /// Takes one; else how long to wait for the next.
    pub fn take(&self, now: Timestamp) -> Result<(), Duration> {
        let mut level = self.state.lock();
        // A clock that was set back fills nothing, and does not stop the filling for long.
        let elapsed = level.at.map_or(Duration::ZERO, |at| now.since(at));
        level.at = Some(now);
        level.tokens = (level.tokens + elapsed.as_secs_f64() * self.per_second).min(self.capacity);
        if level.tokens >= 1.0 {
            level.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - level.tokens) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn taken(bucket: &Bucket, now: Timestamp) -> usize {
        std::iter::repeat_with(|| bucket.take(now)).take_while(Result::is_ok).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let bucket = Bucket::new(10, 40);
        assert_eq!(taken(&bucket, NOON), 40);
        assert_eq!(bucket.take(NOON), Err(Duration::from_millis(100)));
        assert_eq!(taken(&bucket, NOON + Duration::from_secs(1)), 10);
        assert_eq!(taken(&bucket, NOON + Duration::from_hours(1)), 40);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_fills_the_bucket_nor_stops_it() {
        let bucket = Bucket::new(10, 40);
        taken(&bucket, NOON);
        let before = NOON - Duration::from_hours(1);
        assert_eq!(taken(&bucket, before), 0);
        assert_eq!(taken(&bucket, before + Duration::from_millis(500)), 5);
    }
}
