//! How the vault leaves: first it says so, then it asks the connections that stand to move, then it stops. Until then whatever
//! comes is served as ever; who says so and who has connections do not know of each other.

use tokio_util::sync::CancellationToken;

/// How far it is. Each step implies those before it.
#[derive(Debug, Clone, Default)]
pub struct Leaving {
    told: CancellationToken,
    moving: CancellationToken,
    stop: CancellationToken,
}

impl Leaving {
    /// It is not ready any more: whoever asks is told to send work elsewhere.
    pub fn tell(&self) {
        self.told.cancel();
    }

    /// Connections that stand are to end with what they have in hand: by now there is a better place for the next ones.
    pub fn move_on(&self) {
        self.tell();
        self.moving.cancel();
    }

    /// Everything is to end.
    pub fn stop(&self) {
        self.move_on();
        self.stop.cancel();
    }

    /// Whether it has said that it leaves.
    pub fn is_told(&self) -> bool {
        self.told.is_cancelled()
    }

    /// Whether connections are to move.
    pub fn is_moving(&self) -> bool {
        self.moving.is_cancelled()
    }

    /// Until connections are to move.
    pub async fn moving(&self) {
        self.moving.cancelled().await;
    }

    /// The end, for those who need to know of nothing else.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }
}
