//! The machine's clock, the one place that reads it.
//!
//! The vault's time counts on from its start and takes no notice when somebody sets the machine's clock. Replicas agree on
//! it because all of them follow the store's clock: a lease or an intent's deadline that one has written lapses at the same
//! instant for every other.
//!
//! Nor does it ever step, when the store's clock does. Whatever was stamped a moment before the step (a token's life, an
//! intent's deadline) would be judged wrongly a moment after it. The vault's time approaches the store's instead, by so
//! little a second ([`CLOCK_SWAY`]) that lives and deadlines keep their meaning. A replica that starts meanwhile takes the
//! time of those that run.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ports::{CLOCK_SWAY, Clock, Fleet, TokenStore};
use tokenvault_core::time::Timestamp;

/// The store is asked this often.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// And this often until it has answered once.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// An answer that took longer says too little about the time.
const SLOWEST_ANSWER: Duration = Duration::from_secs(1);
/// A difference within this is followed at once (no token is served that would expire of it); one beyond it is a step.
const STEP_MS: i64 = 1_000;
/// So long a replica that has started listens whether the others have another time: they may not have told of a step yet.
const JOINING: Duration = Duration::from_secs(10);

/// What a machine knows of time.
pub trait TimeSource: Send + Sync {
    /// What its clock shows, which somebody may set.
    fn wall(&self) -> Timestamp;

    /// How long it has been running, time asleep included. Never steps.
    fn elapsed(&self) -> Duration;
}

/// This machine.
#[derive(Debug, Default, Clone, Copy)]
pub struct Machine;

/// A clock that follows the store's. Until it has first heard of that one it shows the machine's time at its start, counted
/// on.
#[derive(Debug)]
pub struct SyncedClock<S = Machine> {
    source: S,
    state: Mutex<ClockState>,
}

/// The vault's clock in production.
pub type SystemClock = SyncedClock<Machine>;

#[derive(Debug)]
struct ClockState {
    /// What is added to the elapsed time to show what the store's clock shows.
    offset_ms: i64,
    /// When the store was first heard.
    heard_first: Option<Duration>,
    /// How far this clock was ahead of the store's, and when. From then on the two come together.
    ahead_ms: i64,
    since: Duration,
}

impl ClockState {
    /// How far this clock is ahead of the store's.
    fn ahead_ms(&self, elapsed: Duration) -> i64 {
        let made_good = millis(elapsed.saturating_sub(self.since) / CLOCK_SWAY);
        self.ahead_ms.signum() * (self.ahead_ms.abs() - made_good).max(0)
    }

    fn now_ms(&self, elapsed: Duration) -> i64 {
        millis(elapsed) + self.offset_ms + self.ahead_ms(elapsed)
    }
}

impl SystemClock {
    /// Starts counting.
    pub fn start() -> Self {
        Self::of(Machine)
    }
}

impl<S: TimeSource> SyncedClock<S> {
    /// Starts counting by a source.
    pub fn of(source: S) -> Self {
        let offset_ms = millis(source.wall().since(Timestamp::from_millis(0))) - millis(source.elapsed());
        let state = ClockState { offset_ms, heard_first: None, ahead_ms: 0, since: Duration::ZERO };
        Self { source, state: Mutex::new(state) }
    }

    /// Hears what the store's clock showed between two instants of [`TimeSource::elapsed`]. Answers with how far this one
    /// is ahead of it (milliseconds) where the store's has stepped.
    pub fn observe(&self, store: Timestamp, asked: Duration, heard: Duration) -> Option<i64> {
        let took = heard.saturating_sub(asked);
        if took > SLOWEST_ANSWER {
            return None;
        }
        let offset_ms = millis(store.since(Timestamp::from_millis(0))) + millis(took / 2) - millis(heard);
        let mut state = self.state.lock();
        let step_ms = offset_ms - state.offset_ms;
        if state.heard_first.is_none() {
            (state.offset_ms, state.heard_first) = (offset_ms, Some(heard));
            return None;
        }
        if step_ms.abs() > STEP_MS {
            state.ahead_ms = state.ahead_ms(heard) - step_ms;
            (state.offset_ms, state.since) = (offset_ms, heard);
            return Some(state.ahead_ms);
        }
        // Within the time the answer took, nothing is known better than it was.
        if step_ms.abs() > millis(took) {
            state.offset_ms = offset_ms;
        }
        None
    }

    /// Takes the time of the other replicas, who are so far ahead of the store's clock. Only one that has just started does.
    pub fn join(&self, ahead_ms: i64) {
        let elapsed = self.source.elapsed();
        let mut state = self.state.lock();
        let starting = state.heard_first.is_some_and(|first| elapsed.saturating_sub(first) <= JOINING);
        if starting && (ahead_ms - state.ahead_ms(elapsed)).abs() > STEP_MS {
            (state.ahead_ms, state.since) = (ahead_ms, elapsed);
        }
    }

    /// Asks the store once.
    pub async fn sync(&self, store: &dyn TokenStore) {
        let asked = self.source.elapsed();
        let Ok(time) = store.time().await else { return };
        if let Some(ahead_ms) = self.observe(time, asked, self.source.elapsed()) {
            tracing::warn!(
                ahead_ms,
                "the store's clock has stepped; the vault's approaches it by a hundredth of the time"
            );
        }
    }

    /// Asks the store for the first time, and the other replicas for theirs.
    pub async fn start_with(&self, store: &dyn TokenStore, fleet: &dyn Fleet) {
        // Asked first: nothing is judged by this clock before it is known what the others go by.
        let ahead_ms = furthest(fleet).await;
        self.sync(store).await;
        if let Some(ahead_ms) = ahead_ms {
            self.join(ahead_ms);
        }
    }

    /// Whether it has just started, and is to listen to the others.
    fn is_joining(&self) -> bool {
        let elapsed = self.source.elapsed();
        self.state.lock().heard_first.is_none_or(|first| elapsed.saturating_sub(first) <= JOINING)
    }

    /// How far the machine's clock is ahead of this one, in milliseconds.
    pub fn machine_ahead_ms(&self) -> i64 {
        let wall = millis(self.source.wall().since(Timestamp::from_millis(0)));
        wall - millis(self.now().since(Timestamp::from_millis(0)))
    }
}

/// How far the live replicas are ahead of the store's clock. All say the same, but for one that has only just started, or
/// that is gone and has not seen the step.
async fn furthest(fleet: &dyn Fleet) -> Option<i64> {
    let replicas = fleet.replicas().await.inspect_err(|error| {
        tracing::debug!(%error, "the time of the other replicas could not be heard");
    });
    replicas.ok()?.into_iter().map(|replica| replica.clock_ahead_ms).max_by_key(|ahead| ahead.unsigned_abs())
}

impl<S: TimeSource> Clock for SyncedClock<S> {
    fn now(&self) -> Timestamp {
        let now = self.state.lock().now_ms(self.source.elapsed());
        Timestamp::from_millis(u64::try_from(now).unwrap_or(0))
    }

    fn is_sure(&self) -> bool {
        self.state.lock().heard_first.is_some()
    }

    fn ahead_of_store_ms(&self) -> i64 {
        self.state.lock().ahead_ms(self.source.elapsed())
    }
}

/// Follows the store's clock for as long as it is polled; `each_time` is told afterwards.
pub async fn follow(
    clock: Arc<SystemClock>,
    store: Arc<dyn TokenStore>,
    fleet: Arc<dyn Fleet>,
    each_time: impl Fn(&SystemClock),
) {
    loop {
        if clock.is_joining() {
            clock.start_with(&*store, &*fleet).await;
        } else {
            clock.sync(&*store).await;
        }
        each_time(&clock);
        tokio::time::sleep(if clock.is_sure() { FOLLOW_EVERY } else { ASK_AGAIN }).await;
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl TimeSource for Machine {
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    fn wall(&self) -> Timestamp {
        use std::time::{SystemTime, UNIX_EPOCH};
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    #[cfg(target_os = "linux")]
    fn elapsed(&self) -> Duration {
        // Unlike the monotonic clock, this one counts while the machine is suspended.
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    #[cfg(not(target_os = "linux"))]
    #[expect(clippy::disallowed_methods, reason = "this is the clock adapter")]
    fn elapsed(&self) -> Duration {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000_000);
    const MINUTES_5: u64 = 300;

    /// The machine's clock and the time it has been running, in seconds.
    struct Source(Mutex<(u64, u64)>);

    impl TimeSource for Arc<Source> {
        fn wall(&self) -> Timestamp {
            START + Duration::from_secs(self.0.lock().0)
        }

        fn elapsed(&self) -> Duration {
            Duration::from_secs(self.0.lock().1)
        }
    }

    fn clock() -> (Arc<Source>, SyncedClock<Arc<Source>>) {
        let source = Arc::new(Source(Mutex::new((0, 0))));
        (Arc::clone(&source), SyncedClock::of(source))
    }

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn hear(clock: &SyncedClock<Arc<Source>>, store: Timestamp) -> Option<i64> {
        let now = clock.source.elapsed();
        clock.observe(store, now, now)
    }

    #[test]
    fn setting_the_machines_clock_changes_nothing() {
        let (source, clock) = clock();
        for wall in [10 + MINUTES_5, 10] {
            *source.0.lock() = (wall, 10);
            assert_eq!(clock.now(), at(10));
        }
        assert_eq!(clock.machine_ahead_ms(), 0);
    }

    #[test]
    fn the_stores_clock_is_followed_from_the_first_answer_on() {
        let (source, clock) = clock();
        assert!(!clock.is_sure());
        assert_eq!(hear(&clock, at(MINUTES_5)), None);
        assert!(clock.is_sure());
        assert_eq!(clock.now(), at(MINUTES_5));
        *source.0.lock() = (1, 1);
        hear(&clock, at(MINUTES_5 + 2));
        assert_eq!(clock.now(), at(MINUTES_5 + 2));
    }

    /// Lets time pass second by second with the store's clock so far ahead of it, and answers with how far this one is.
    fn pass(source: &Source, clock: &SyncedClock<Arc<Source>>, seconds: u64, store_ahead: i64) -> i64 {
        for _ in 0..seconds {
            let elapsed = source.0.lock().1 + 1;
            let before = clock.now();
            *source.0.lock() = (elapsed, elapsed);
            let went = clock.now().since(before);
            assert!((990..=1_010).contains(&went.as_millis()), "a second took {went:?}");
            hear(clock, at(elapsed.saturating_add_signed(store_ahead)));
            assert!(clock.now() >= before, "it never goes back");
        }
        ahead_of_true(clock)
    }

    fn ahead_of_true(clock: &SyncedClock<Arc<Source>>) -> i64 {
        millis(clock.now().since(START)) - millis(clock.source.elapsed())
    }

    /// One that has followed the store's clock for long.
    fn running() -> (Arc<Source>, SyncedClock<Arc<Source>>) {
        let (source, clock) = clock();
        *source.0.lock() = (86_400, 86_400);
        hear(&clock, at(86_400));
        (source, clock)
    }

    #[test]
    fn a_step_of_the_stores_clock_is_approached_by_a_hundredth_of_the_time() {
        for step in [-300, 300_i64] {
            let (source, clock) = running();
            let after = pass(&source, &clock, 100, step);
            assert_eq!(after, step.signum() * 990, "after 100 s, the first of which went by unseen");
            assert_eq!(clock.ahead_of_store_ms(), after - step * 1_000);
            pass(&source, &clock, 30_000, step);
            assert_eq!((ahead_of_true(&clock), clock.ahead_of_store_ms()), (step * 1_000, 0));
        }
    }

    #[test]
    fn a_step_that_is_taken_back_has_moved_next_to_nothing() {
        let (source, clock) = running();
        assert!(pass(&source, &clock, 120, 300) <= 1_200);
        assert_eq!(pass(&source, &clock, 240, 0), 0);
    }

    #[test]
    fn a_replica_that_starts_after_a_step_takes_the_time_of_those_that_run() {
        let (source, running) = clock();
        hear(&running, at(1_000));
        *source.0.lock() = (10, 10);
        hear(&running, at(710));
        *source.0.lock() = (60, 60);
        let (now, ahead) = (running.now(), running.ahead_of_store_ms());
        assert_eq!(ahead, 299_500);
        let starting = SyncedClock::of(Arc::clone(&source));
        hear(&starting, at(760));
        starting.join(ahead);
        assert_eq!(starting.now(), now);
        *source.0.lock() = (90, 90);
        assert_eq!(starting.now(), running.now());
        starting.join(0);
        assert_eq!(starting.now(), running.now(), "once it runs, nobody else's time is taken");
    }

    /// What serves a token to the very end of its life by the stepped clock: believed alive, and dead at Keycloak.
    #[test]
    fn no_token_outlives_itself_by_a_clock_that_runs_slow() {
        use tokenvault_core::policy::least_left;
        for life in [20, 60, 180, 600, 3_600_u64] {
            for stamped in [0, 5, 100, 290, 320] {
                let (source, clock) = clock();
                hear(&clock, at(1_000));
                let expires = clock.now() + Duration::from_secs(life);
                for elapsed in 1..=life + 1 {
                    *source.0.lock() = (elapsed, elapsed);
                    let stepped = if elapsed > stamped { 700 } else { 1_000 };
                    hear(&clock, at(stepped + elapsed));
                    let served = expires.since(clock.now()) >= least_left(Duration::from_secs(life));
                    assert!(!served || elapsed < life, "served {elapsed} s after it was issued for {life} s");
                }
            }
        }
    }

    #[test]
    fn a_slow_answer_says_nothing() {
        let (source, clock) = clock();
        *source.0.lock() = (3, 3);
        assert_eq!(clock.observe(at(500), Duration::from_secs(1), Duration::from_secs(3)), None);
        assert_eq!(clock.now(), at(3));
    }
}
