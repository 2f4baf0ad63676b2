//! Decides which connections to Redis may still be used.
//!
//! Connections are counted in eras. If one connection times out, the others are most likely dead as well: a node is frozen, or
//! a balancer has forgotten them. Each would cost a time-out of its own. So the era ends: all its connections are dropped, and
//! new ones are made. The same happens when a server has become a replica, because the name may lead to another server by now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// For so long no other connection is made where one has led to a replica.
const REPLICA_PAUSE: Duration = Duration::from_millis(100);

/// Hears each time that the connections are left.
pub type OnEraEnd = Arc<dyn Fn() + Send + Sync>;

/// Why connections are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaveReason {
    /// A command was kept waiting too long.
    Silent,
    /// The server follows another one.
    Demoted,
    /// New connections to the same name lead to another server.
    Moved,
    /// One of them was closed: where the next one leads, all are to lead.
    Closed,
}

impl LeaveReason {
    /// What is said of it; nothing where the server has said it.
    fn words(self) -> Option<&'static str> {
        match self {
            Self::Silent => Some("Redis did not answer in time: all connections to it are left, and new ones made"),
            Self::Demoted => {
                Some("the Redis server follows another one by now: all connections to it are left, and new ones made")
            }
            Self::Moved => Some("the name leads to another Redis server: all connections are left, and new ones made"),
            Self::Closed => None,
        }
    }
}

/// Counts the times that all connections were left.
pub(crate) struct Eras {
    /// Where the connections lead: host and port.
    address: String,
    now: AtomicU64,
    /// Whether it was said that they are left, and nobody has answered since.
    said: AtomicBool,
    on_left: Option<OnEraEnd>,
    /// When a new connection has last led to a replica.
    replica_seen_at: Mutex<Option<Instant>>,
}

/// The era in which a connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl Eras {
    pub(crate) fn new(address: String, on_left: Option<OnEraEnd>) -> Arc<Self> {
        Arc::new(Self {
            address,
            now: AtomicU64::new(0),
            said: AtomicBool::new(false),
            on_left,
            replica_seen_at: Mutex::default(),
        })
    }

    /// For a connection that is about to be made.
    pub(super) fn now(&self) -> Era {
        Era(self.now.load(Ordering::SeqCst))
    }

    /// Whether connections of an era may be used.
    pub(super) fn lasts(&self, era: Era) -> bool {
        self.now() == era
    }

    /// Notes that a new connection has reached a replica instead of the primary.
    pub(super) fn note_replica(&self) {
        *self.replica_seen_at.lock() = Some(instant());
    }

    /// Whether a new connection reached a replica a moment ago. If so, another attempt would likely reach it again.
    pub(super) fn replica_seen_lately(&self) -> bool {
        self.replica_seen_at.lock().is_some_and(|at| instant().duration_since(at) < REPLICA_PAUSE)
    }

    /// A connection of this era was answered.
    pub(super) fn answered(&self) {
        if self.said.load(Ordering::Relaxed) {
            self.said.store(false, Ordering::Relaxed);
        }
    }

    /// A connection of this era cannot be believed any more: the era is over.
    pub(super) fn end(&self, era: Era, cause: LeaveReason) {
        if self.now.compare_exchange(era.0, era.0 + 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        let Some(words) = cause.words() else { return };
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(address = self.address, "{words}");
        }
        if let Some(told) = &self.on_left {
            told();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures a span and tells no time")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_ends_once_however_many_of_its_connections_fail() {
        let told = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&told);
        let on_left: OnEraEnd = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let eras = Eras::new("redis:6379".to_owned(), Some(on_left));
        let first = eras.now();
        (0..3).for_each(|_| eras.end(first, LeaveReason::Silent));
        assert!(!eras.lasts(first));
        assert!(eras.lasts(eras.now()));
        assert_eq!(told.load(Ordering::SeqCst), 1);
        eras.end(eras.now(), LeaveReason::Demoted);
        assert_eq!(told.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn with_one_that_was_closed_the_others_are_left_without_a_word() {
        let told: OnEraEnd = Arc::new(|| panic!("nothing is to be told"));
        let eras = Eras::new("redis:6379".to_owned(), Some(told));
        let first = eras.now();
        eras.end(first, LeaveReason::Closed);
        assert!(!eras.lasts(first));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_to_a_replica_is_left_alone_for_a_moment() {
        let eras = Eras::new("redis:6379".to_owned(), None);
        assert!(!eras.replica_seen_lately());
        eras.note_replica();
        assert!(eras.replica_seen_lately());
        tokio::time::advance(REPLICA_PAUSE).await;
        assert!(!eras.replica_seen_lately());
    }
}
