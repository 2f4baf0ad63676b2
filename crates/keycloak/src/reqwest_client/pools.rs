//! Connections by address, which are left where they do not answer any more.
//!
//! A node that froze, or a balancer that forgot it, acknowledges what it is sent and never answers. Whatever is sent over a
//! connection to it is lost, while a new connection would lead elsewhere. HTTP/2 puts all calls on one connection and keeps
//! it; HTTP/1.1 keeps one for each call that was ever under way at a time. So when a call was not answered in time, and no
//! other one was since it began, all connections to that address are left: calls that may be repeated are given up at once,
//! the others wait out their time, and whoever comes next makes a new connection. Other addresses keep theirs.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use url::{Origin, Url};

use super::settings::{ClientBuildError, HttpSettings, client};

/// Hears each time that the connections to an address are left.
pub type OnPoolLeft = Arc<dyn Fn() + Send + Sync>;

/// The connections of one address until they are left. Only the first such pools share a client.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) client: reqwest::Client,
    answered: AtomicU64,
    left: watch::Sender<bool>,
    /// Whether it follows one that was left: then this has been said.
    follows: bool,
}

impl Pool {
    fn new(client: reqwest::Client, follows: bool) -> Self {
        Self { client, answered: AtomicU64::new(0), left: watch::Sender::new(false), follows }
    }

    /// How many calls were answered over these connections.
    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::SeqCst)
    }

    /// Until its connections are left.
    pub(super) async fn left(&self) {
        let mut left = self.left.subscribe();
        if left.wait_for(|left| *left).await.is_err() {
            // Impossible, as the sender is here.
            std::future::pending::<()>().await;
        }
    }

    /// One more was.
    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// The pools of all addresses.
pub(super) struct OriginPools {
    settings: HttpSettings,
    first: reqwest::Client,
    of: Mutex<HashMap<Origin, Arc<Pool>>>,
    on_left: Option<OnPoolLeft>,
}

impl OriginPools {
    pub(super) fn new(settings: &HttpSettings) -> Result<Self, ClientBuildError> {
        let (settings, first) = (settings.clone(), client(settings)?);
        Ok(Self { settings, first, of: Mutex::default(), on_left: None })
    }

    pub(super) fn telling(self, on_left: OnPoolLeft) -> Self {
        Self { on_left: Some(on_left), ..self }
    }

    pub(super) fn max_answer(&self) -> usize {
        self.settings.max_answer
    }

    /// The pool for an address.
    pub(super) fn of(&self, url: &Url) -> Arc<Pool> {
        let mut pools = self.of.lock();
        let pool = pools.entry(url.origin()).or_insert_with(|| Arc::new(Pool::new(self.first.clone(), false)));
        Arc::clone(pool)
    }

    /// A call over this pool was not answered in time; when it began, so many had been. At most one call in a time-out's
    /// length finds its pool to be the one in force and without an answer since.
    pub(super) fn unanswered(&self, url: &Url, pool: &Arc<Pool>, answered_before: u64) {
        let origin = url.origin();
        let mut pools = self.of.lock();
        let in_force = pools.get(&origin).is_some_and(|now| Arc::ptr_eq(now, pool));
        if !in_force || pool.answered() != answered_before {
            return;
        }
        let address = origin.ascii_serialization();
        match client(&self.settings) {
            Ok(client) => drop(pools.insert(origin, Arc::new(Pool::new(client, true)))),
            Err(error) => return tracing::warn!(address, %error, "connections that do not answer cannot be replaced"),
        }
        drop(pools);
        pool.left.send_replace(true);
        if pool.follows && pool.answered() == 0 {
            tracing::debug!(address, "nor do new connections answer");
        } else {
            tracing::warn!(address, "nobody answers over the connections that stand: they are left, and new ones made");
        }
        if let Some(told) = &self.on_left {
            told();
        }
    }
}

impl std::fmt::Debug for OriginPools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginPools").field("settings", &self.settings).finish_non_exhaustive()
    }
}
