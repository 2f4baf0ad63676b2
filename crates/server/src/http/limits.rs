//! How often a module may call, and with how many requests at a time, so that one of them cannot take the vault from all
//! others. Callers that the policy does not know share one small allowance.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::ModuleName;
use tokenvault_core::time::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bucket::Bucket;
use crate::problem::{Code, Problem};

/// Of all callers together that the policy does not know.
const STRANGERS: Allowance = Allowance { rate: 20, burst: 40, concurrency: 8 };

/// What a caller is allowed at one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests a second.
    pub rate: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// Requests under way at a time, those that wait for a renewal included.
    pub concurrency: usize,
}

/// What is left of each caller's allowance.
pub(super) struct CallerLimits {
    allowance: Allowance,
    /// By names from the policy, and never others: made-up names fill no memory.
    modules: Mutex<HashMap<ModuleName, Arc<Share>>>,
    strangers: Share,
}

struct Share {
    bucket: Bucket,
    places: Arc<Semaphore>,
}

impl Share {
    fn new(allowance: Allowance) -> Self {
        Self {
            bucket: Bucket::new(allowance.rate, allowance.burst),
            places: Arc::new(Semaphore::new(allowance.concurrency.min(Semaphore::MAX_PERMITS))),
        }
    }

    fn enter(&self, now: Timestamp) -> Result<OwnedSemaphorePermit, Problem> {
        let many = |detail: &str, after: Duration| Problem::new(Code::TooManyRequests, detail).retry_after(after);
        self.bucket.take(now).map_err(|wait| many("The caller sends too many requests.", whole_seconds(wait)))?;
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| many("The caller has too many requests under way.", Duration::from_secs(1)))
    }
}

impl CallerLimits {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, modules: Mutex::default(), strangers: Share::new(STRANGERS) }
    }

    /// A place for one more request of a caller's; held for as long as the request is under way.
    pub(super) fn enter(&self, module: Option<&ModuleName>, now: Timestamp) -> Result<OwnedSemaphorePermit, Problem> {
        match module {
            Some(module) => self.share(module).enter(now),
            None => self.strangers.enter(now),
        }
    }

    fn share(&self, module: &ModuleName) -> Arc<Share> {
        let mut modules = self.modules.lock();
        if let Some(share) = modules.get(module) {
            return Arc::clone(share);
        }
        let share = Arc::new(Share::new(self.allowance));
        modules.insert(module.clone(), Arc::clone(&share));
        share
    }
}

/// Rounded up, as `Retry-After` has whole seconds.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn module(name: &str) -> ModuleName {
        ModuleName::parse(name).expect("a module")
    }

    fn limits() -> CallerLimits {
        CallerLimits::new(Allowance { rate: 1, burst: 3, concurrency: 2 })
    }

    #[test]
    fn a_caller_that_used_up_its_rate_takes_nothing_from_another() {
        let (limits, greedy) = (limits(), module("greedy"));
        for _ in 0..3 {
            drop(limits.enter(Some(&greedy), NOON).expect("within the burst"));
        }
        let problem = limits.enter(Some(&greedy), NOON).expect_err("beyond it");
        assert_eq!((problem.code, problem.retry_after), (Code::TooManyRequests, Some(Duration::from_secs(1))));
        assert!(limits.enter(Some(&module("other")), NOON).is_ok());
        assert!(limits.enter(None, NOON).is_ok());
        assert!(limits.enter(Some(&greedy), NOON + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_request_under_way_holds_its_place_until_it_is_answered() {
        let (limits, module) = (limits(), module("waiting"));
        let first = limits.enter(Some(&module), NOON).expect("a place");
        let _second = limits.enter(Some(&module), NOON).expect("a place");
        assert!(limits.enter(Some(&module), NOON).is_err());
        drop(first);
        assert!(limits.enter(Some(&module), NOON + Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn strangers_share_one_small_allowance() {
        let limits = limits();
        let admitted = (0..100).filter(|_| limits.enter(None, NOON).is_ok()).count();
        assert_eq!(admitted, usize::try_from(STRANGERS.burst).expect("a few"));
    }
}
