//! How often the listener may be called, and how often a tenant's signatures are checked.
//!
//! A stranger can use up what there is, and a logout that comes meanwhile is then not heard. That is bearable: the hint only
//! makes sooner what the next renewal finds out anyway. What must not be is that strangers keep the process busy.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::TenantId;
use tokenvault_core::time::Timestamp;

use crate::config::Idp;
use crate::tenants::Tenants;

/// How many seconds' worth may come at once: a mass logout comes in bursts.
const BURST_SECONDS: f64 = 4.0;

/// The listener's and the tenants' buckets. There is one for each tenant of the configuration and never another, so that
/// made-up names fill no memory.
pub(super) struct Rates {
    listener: Bucket,
    tenants: BTreeMap<TenantId, Bucket>,
}

impl Rates {
    pub(super) fn new(section: &Idp, tenants: &Tenants) -> Self {
        let of_tenant = |tenant: &TenantId| (tenant.clone(), Bucket::new(section.max_tenant_rate));
        Self { listener: Bucket::new(section.max_rate), tenants: tenants.ids().map(of_tenant).collect() }
    }

    /// One more request, of whatever kind; else how long to wait for the next.
    pub(super) fn request(&self, now: Timestamp) -> Result<(), Duration> {
        self.listener.take(now)
    }

    /// One more token of a tenant to be checked.
    pub(super) fn check(&self, tenant: &TenantId, now: Timestamp) -> Result<(), Duration> {
        self.tenants.get(tenant).map_or(Ok(()), |bucket| bucket.take(now))
    }
}

/// A token bucket: it fills steadily, and each taking needs one.
struct Bucket {
    per_second: f64,
    capacity: f64,
    state: Mutex<Level>,
}

struct Level {
    tokens: f64,
    at: Option<Timestamp>,
}

impl Bucket {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        let capacity = (per_second * BURST_SECONDS).max(1.0);
        Self { per_second, capacity, state: Mutex::new(Level { tokens: capacity, at: None }) }
    }

    fn take(&self, now: Timestamp) -> Result<(), Duration> {
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
        let bucket = Bucket::new(10);
        assert_eq!(taken(&bucket, NOON), 40);
        assert_eq!(bucket.take(NOON), Err(Duration::from_millis(100)));
        assert_eq!(taken(&bucket, NOON + Duration::from_secs(1)), 10);
        assert_eq!(taken(&bucket, NOON + Duration::from_hours(1)), 40);
    }

    #[test]
    fn a_clock_that_is_set_back_neither_fills_the_bucket_nor_stops_it() {
        let bucket = Bucket::new(10);
        taken(&bucket, NOON);
        let before = NOON - Duration::from_hours(1);
        assert_eq!(taken(&bucket, before), 0);
        assert_eq!(taken(&bucket, before + Duration::from_millis(500)), 5);
    }
}
