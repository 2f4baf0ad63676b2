//! The steps in which the vault shuts down: it announces it, then it drains its connections, then it stops.
//!
//! Until it stops, every request is served. Who starts a step and who has connections do not know of each other.

use tokio_util::sync::CancellationToken;

/// How far the shutdown is. Each step implies those before it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    announced: CancellationToken,
    draining: CancellationToken,
    stop: CancellationToken,
}

impl Shutdown {
    /// This replica is not ready any more: callers are told to send their work elsewhere.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Open connections end with the requests that they have in hand: by now there is a better place for the next ones.
    pub fn drain(&self) {
        self.announce();
        self.draining.cancel();
    }

    /// Everything ends.
    pub fn stop(&self) {
        self.drain();
        self.stop.cancel();
    }

    /// Whether the shutdown was announced.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Whether open connections are to end.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Waits until open connections are to end.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// The last step alone.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }
}
