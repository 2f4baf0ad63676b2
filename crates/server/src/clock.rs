//! The machine's clock, the one place that reads it.
//!
//! The vault's time counts on from its start and takes no notice when somebody sets the machine's clock. Replicas agree on
//! it because all of them follow the store's clock: a lease or an intent's deadline that one has written lapses at the same
//! instant for every other.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ports::{Clock, TokenStore};
use tokenvault_core::time::Timestamp;

/// The store is asked this often.
const FOLLOW_EVERY: Duration = Duration::from_secs(2);
/// And this often until it has answered once.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// An answer that took longer says too little about the time.
const SLOWEST_ANSWER: Duration = Duration::from_secs(1);
/// A difference within this is followed at once; one beyond it is a step.
const STEP_MS: i64 = 2_000;
/// A step of the store's clock is followed after this long, when nothing that was sent before it can still be under way and
/// tokens stamped before it have been renewed.
const PATIENCE: Duration = Duration::from_mins(2);

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
    state: Mutex<State>,
}

/// The vault's clock in production.
pub type SystemClock = SyncedClock<Machine>;

#[derive(Debug)]
struct State {
    /// What is added to the elapsed time.
    offset_ms: i64,
    synced: bool,
    /// The offset of a step that is not followed yet, and when it was first seen.
    step: Option<(i64, Duration)>,
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
        Self { source, state: Mutex::new(State { offset_ms, synced: false, step: None }) }
    }

    /// Hears what the store's clock showed between two instants of [`TimeSource::elapsed`]. Answers with how far it is
    /// ahead of this one (milliseconds) where that is a step that is not followed yet.
    pub fn observe(&self, store: Timestamp, asked: Duration, heard: Duration) -> Option<i64> {
        let took = heard.saturating_sub(asked);
        if took > SLOWEST_ANSWER {
            return None;
        }
        let offset_ms = millis(store.since(Timestamp::from_millis(0))) + millis(took / 2) - millis(heard);
        let mut state = self.state.lock();
        let ahead = offset_ms - state.offset_ms;
        let since = match state.step {
            Some((step, since)) if (step - offset_ms).abs() <= STEP_MS => since,
            _ => heard,
        };
        if state.synced && ahead.abs() > STEP_MS && heard.saturating_sub(since) < PATIENCE {
            state.step = Some((offset_ms, since));
            return Some(ahead);
        }
        // Within the time the answer took, nothing is known better than it was.
        if !state.synced || ahead.abs() > millis(took) {
            state.offset_ms = offset_ms;
        }
        state.synced = true;
        state.step = None;
        None
    }

    /// Asks the store once.
    pub async fn sync(&self, store: &dyn TokenStore) {
        let asked = self.source.elapsed();
        let Ok(time) = store.time().await else { return };
        if let Some(ahead_ms) = self.observe(time, asked, self.source.elapsed()) {
            tracing::warn!(ahead_ms, "the store's clock has stepped; it is followed if it stays there");
        }
    }

    /// How far the machine's clock is ahead of this one, in milliseconds.
    pub fn machine_ahead_ms(&self) -> i64 {
        let wall = millis(self.source.wall().since(Timestamp::from_millis(0)));
        wall - millis(self.now().since(Timestamp::from_millis(0)))
    }
}

impl<S: TimeSource> Clock for SyncedClock<S> {
    fn now(&self) -> Timestamp {
        let now = millis(self.source.elapsed()) + self.state.lock().offset_ms;
        Timestamp::from_millis(u64::try_from(now).unwrap_or(0))
    }

    fn is_sure(&self) -> bool {
        self.state.lock().synced
    }
}

/// Follows the store's clock for as long as it is polled; `each_time` hears how far the machine's is ahead.
pub async fn follow(clock: Arc<SystemClock>, store: Arc<dyn TokenStore>, each_time: impl Fn(i64)) {
    loop {
        clock.sync(&*store).await;
        each_time(clock.machine_ahead_ms());
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

    #[test]
    fn a_step_of_the_stores_clock_is_followed_only_if_it_stays() {
        let (source, clock) = clock();
        hear(&clock, at(0));
        for (elapsed, store, shown) in [
            (10, 10 + MINUTES_5, 10),
            (20, 20, 20),
            (30, 30 + MINUTES_5, 30),
            (149, 149 + MINUTES_5, 149),
            (150, 150 + MINUTES_5, 150 + MINUTES_5),
        ] {
            *source.0.lock() = (elapsed, elapsed);
            hear(&clock, at(store));
            assert_eq!(clock.now(), at(shown), "after {elapsed} s");
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
