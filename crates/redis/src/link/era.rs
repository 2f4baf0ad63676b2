//! Which connections are still believed in.
//!
//! Redis answers all connections or none. Where one keeps a command waiting too long, whatever leads there may have died
//! under it without a word: a frozen node, a balancer that forgot. The others, those that idle included, are most likely as
//! dead, and each would cost a time-out of its own to find that out. So all that were made before are left together. The
//! same is done where a server turns out to follow another one by now: the name may lead elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Hears each time that the connections are left.
pub type OnLeft = Arc<dyn Fn() + Send + Sync>;

/// Why connections are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A command was kept waiting too long.
    Silent,
    /// The server follows another one.
    Demoted,
    /// New connections to the same name lead to another server.
    Moved,
}

impl Cause {
    fn words(self) -> &'static str {
        match self {
            Self::Silent => "Redis did not answer in time: all connections to it are left, and new ones made",
            Self::Demoted => {
                "the Redis server follows another one by now: all connections to it are left, and new ones made"
            }
            Self::Moved => "the name leads to another Redis server: all connections are left, and new ones made",
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
    on_left: Option<OnLeft>,
}

/// The era in which a connection was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Era(u64);

impl Eras {
    pub(crate) fn new(address: String, on_left: Option<OnLeft>) -> Arc<Self> {
        Arc::new(Self { address, now: AtomicU64::new(0), said: AtomicBool::new(false), on_left })
    }

    /// For a connection that is about to be made.
    pub(super) fn now(&self) -> Era {
        Era(self.now.load(Ordering::SeqCst))
    }

    /// Whether connections of an era may be used.
    pub(super) fn lasts(&self, era: Era) -> bool {
        self.now() == era
    }

    /// A connection of this era was answered.
    pub(super) fn answered(&self) {
        if self.said.load(Ordering::Relaxed) {
            self.said.store(false, Ordering::Relaxed);
        }
    }

    /// A connection of this era cannot be believed any more: the era is over.
    pub(super) fn end(&self, era: Era, cause: Cause) {
        if self.now.compare_exchange(era.0, era.0 + 1, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(address = self.address, "{}", cause.words());
        }
        if let Some(told) = &self.on_left {
            told();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_ends_once_however_many_of_its_connections_fail() {
        let told = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&told);
        let on_left: OnLeft = Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let eras = Eras::new("redis:6379".to_owned(), Some(on_left));
        let first = eras.now();
        (0..3).for_each(|_| eras.end(first, Cause::Silent));
        assert!(!eras.lasts(first));
        assert!(eras.lasts(eras.now()));
        assert_eq!(told.load(Ordering::SeqCst), 1);
        eras.end(eras.now(), Cause::Demoted);
        assert_eq!(told.load(Ordering::SeqCst), 2);
    }
}
