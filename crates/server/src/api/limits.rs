//! How often a module may call, with how many requests at a time and with how much in them, so that one of them cannot take
//! the vault from all others. Callers that the policy does not know share one small allowance.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::ModuleName;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::problem::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::web::BodyBudget;
use crate::web::bucket::Bucket;

/// Of all callers together that the policy does not know.
const UNKNOWN_CALLERS: Allowance =
    Allowance { rate: 20, burst: 40, register_rate: 20, register_burst: 40, concurrency: 8 };

/// What a caller is allowed at one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Requests a second.
    pub rate: u32,
    /// Requests at once, after a pause.
    pub burst: u32,
    /// Registrations a second, of those.
    pub register_rate: u32,
    /// Registrations at once, after a pause.
    pub register_burst: u32,
    /// Requests under way at a time, those that wait for a renewal included.
    pub concurrency: usize,
}

/// Lists of one caller's that are read at a time; more wait for their turn. Each may read thousands of records.
const LISTS: usize = 4;

/// Requests of one caller that were answered and whose bodies are read to their end; of more they are not, and an answer may be
/// lost on whoever still sends.
const LINGERING: usize = 256;

/// Requests of one caller that are worked on at a time, two for each processor; more wait for their turn. Whoever sends a
/// thousand at once has its own requests wait, and not those of others behind them. While one of them waits for the store,
/// another one is computed. How many processors there are is read from files, and so only once.
static TURNS: LazyLock<usize> = LazyLock::new(|| 2 * std::thread::available_parallelism().map_or(1, NonZero::get));

/// How long a request keeps its turn. One that takes longer waits for somebody else, and takes nothing from anybody.
const TURN: Duration = Duration::from_millis(10);

/// What is left of each caller's allowance.
pub(super) struct CallerLimits {
    allowance: Allowance,
    /// By names from the policy, and never others: made-up names fill no memory.
    modules: Mutex<HashMap<ModuleName, Arc<CallerQuota>>>,
    unknown_callers: Arc<CallerQuota>,
}

/// What one caller may still use.
pub(super) struct CallerQuota {
    bucket: Bucket,
    /// What is registered stays, also what has ended for a while: it has a rate of its own, and leaves reads theirs.
    registrations: Bucket,
    permits: Arc<Semaphore>,
    turns: Semaphore,
    lists: Arc<Semaphore>,
    body_budget: BodyBudget,
    lingering: Arc<Semaphore>,
}

impl CallerQuota {
    fn new(allowance: Allowance) -> Self {
        Self {
            bucket: Bucket::new(allowance.rate, allowance.burst),
            registrations: Bucket::new(allowance.register_rate, allowance.register_burst),
            permits: Arc::new(Semaphore::new(allowance.concurrency.min(Semaphore::MAX_PERMITS))),
            turns: Semaphore::new(*TURNS),
            lists: Arc::new(Semaphore::new(LISTS)),
            body_budget: BodyBudget::default(),
            lingering: Arc::new(Semaphore::new(LINGERING)),
        }
    }

    /// A place for one more request; held for as long as the request is under way.
    pub(super) fn enter(&self, registers: bool, now: Timestamp) -> Result<OwnedSemaphorePermit, Problem> {
        let many = |detail: &str, after: Duration| Problem::new(Code::TooManyRequests, detail).retry_after(after);
        if registers {
            let taken = self.registrations.take(now);
            taken.map_err(|wait| many("The caller registers too many jobs.", whole_seconds(wait)))?;
        }
        self.bucket.take(now).map_err(|wait| many("The caller sends too many requests.", whole_seconds(wait)))?;
        let place = Arc::clone(&self.permits).try_acquire_owned();
        place.map_err(|_| many("The caller has too many requests under way.", Duration::from_secs(1)))
    }

    /// Does a request's work when it is its turn, after those of the caller that came before.
    pub(super) async fn in_turn<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.turns.acquire().await.expect("nobody closes the semaphore");
        let mut work = std::pin::pin!(work);
        if let Ok(done) = tokio::time::timeout(TURN, &mut work).await {
            return done;
        }
        drop(turn);
        work.await
    }

    /// The budget of the caller's large bodies.
    pub(super) fn body_budget(&self) -> BodyBudget {
        self.body_budget.clone()
    }

    /// A permit to discard the rest of a body after the answer is known, if there is one.
    pub(super) fn discard_permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lingering).try_acquire_owned().ok()
    }

    /// A turn to read a list, once there is one.
    pub(super) async fn list_turn(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.lists).acquire_owned().await.expect("nobody closes the semaphore")
    }
}

impl CallerLimits {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self { allowance, modules: Mutex::default(), unknown_callers: Arc::new(CallerQuota::new(UNKNOWN_CALLERS)) }
    }

    /// The quota of a caller. All callers that the policy does not know have one together.
    pub(super) fn quota(&self, module: Option<&ModuleName>) -> Arc<CallerQuota> {
        let Some(module) = module else { return Arc::clone(&self.unknown_callers) };
        let mut modules = self.modules.lock();
        if let Some(quota) = modules.get(module) {
            return Arc::clone(quota);
        }
        let quota = Arc::new(CallerQuota::new(self.allowance));
        modules.insert(module.clone(), Arc::clone(&quota));
        quota
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
        CallerLimits::new(Allowance { rate: 1, burst: 3, register_rate: 1, register_burst: 2, concurrency: 2 })
    }

    #[test]
    fn a_caller_that_used_up_its_rate_takes_nothing_from_another() {
        let (limits, greedy) = (limits(), module("greedy"));
        for _ in 0..3 {
            drop(limits.quota(Some(&greedy)).enter(false, NOON).expect("within the burst"));
        }
        let problem = limits.quota(Some(&greedy)).enter(false, NOON).expect_err("beyond it");
        assert_eq!((problem.code, problem.retry_after), (Code::TooManyRequests, Some(Duration::from_secs(1))));
        assert!(limits.quota(Some(&module("other"))).enter(false, NOON).is_ok());
        assert!(limits.quota(None).enter(false, NOON).is_ok());
        assert!(limits.quota(Some(&greedy)).enter(false, NOON + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_caller_that_used_up_its_registrations_goes_on_reading() {
        let (limits, greedy) = (limits(), module("greedy"));
        for _ in 0..2 {
            drop(limits.quota(Some(&greedy)).enter(true, NOON).expect("within the burst"));
        }
        let problem = limits.quota(Some(&greedy)).enter(true, NOON).expect_err("beyond it");
        assert_eq!((problem.code, problem.retry_after), (Code::TooManyRequests, Some(Duration::from_secs(1))));
        assert!(limits.quota(Some(&greedy)).enter(false, NOON).is_ok(), "what was refused took nothing from reads");
        assert!(limits.quota(Some(&module("other"))).enter(true, NOON).is_ok());
    }

    #[test]
    fn a_request_under_way_holds_its_place_until_it_is_answered() {
        let (limits, module) = (limits(), module("waiting"));
        let first = limits.quota(Some(&module)).enter(false, NOON).expect("a place");
        let _second = limits.quota(Some(&module)).enter(false, NOON).expect("a place");
        assert!(limits.quota(Some(&module)).enter(false, NOON).is_err());
        drop(first);
        assert!(limits.quota(Some(&module)).enter(false, NOON + Duration::from_secs(5)).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn requests_of_one_caller_take_turns_and_no_turn_of_anothers() {
        let limits = limits();
        let (greedy, other) = (limits.quota(Some(&module("greedy"))), limits.quota(Some(&module("other"))));
        let slow = || greedy.in_turn(std::future::pending::<()>());
        let mut slow: futures::stream::FuturesUnordered<_> = (0..*TURNS).map(|_| slow()).collect();
        assert!(futures::poll!(futures::StreamExt::next(&mut slow)).is_pending(), "all turns are taken");
        let mut next = std::pin::pin!(greedy.in_turn(async {}));
        assert!(futures::poll!(&mut next).is_pending(), "it waits for its turn");
        assert!(futures::poll!(std::pin::pin!(other.in_turn(async {}))).is_ready(), "another's turns are its own");
        tokio::time::advance(TURN).await;
        assert!(futures::poll!(futures::StreamExt::next(&mut slow)).is_pending(), "they go on without their turns");
        assert!(futures::poll!(&mut next).is_ready());
    }

    #[test]
    fn a_callers_large_bodies_have_so_much_room_and_anothers_have_their_own() {
        let limits = limits();
        let room = limits.quota(Some(&module("greedy"))).body_budget();
        let taken: Vec<_> = (0..64).map(|_| room.take(64 * 1024).expect("room")).collect();
        let problem = limits.quota(Some(&module("greedy"))).body_budget().take(1).expect_err("no more of it");
        assert_eq!((problem.code, problem.retry_after), (Code::TooManyRequests, Some(Duration::from_secs(1))));
        assert!(limits.quota(Some(&module("other"))).body_budget().take(64 * 1024).is_ok());
        assert!(limits.quota(None).body_budget().take(64 * 1024).is_ok());
        drop(taken);
        assert!(room.take(64 * 1024).is_ok());
    }

    #[test]
    fn strangers_share_one_small_allowance() {
        let limits = limits();
        let admitted = (0..100).filter(|_| limits.quota(None).enter(false, NOON).is_ok()).count();
        assert_eq!(admitted, usize::try_from(UNKNOWN_CALLERS.burst).expect("a few"));
    }
}
