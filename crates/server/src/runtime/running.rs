//! A vault that runs, as whoever started it sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_vault::journal::Journal;
use tokenvault_vault::replica::ReplicaState;
use tokio::task::JoinHandle;

use crate::web::shutdown::Shutdown;

/// A vault that runs.
pub struct Running {
    pub(super) address: SocketAddr,
    pub(super) management_address: SocketAddr,
    pub(super) shutdown: Shutdown,
    pub(super) delay: Duration,
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) replica: Arc<ReplicaState>,
    pub(super) grace: Duration,
}

impl Running {
    /// Where modules call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where health and metrics are.
    pub fn management_address(&self) -> SocketAddr {
        self.management_address
    }

    /// Announces the shutdown and lets `server.shutdown_delay` pass, in which every request is served. After half of it the
    /// open connections are drained. It may be dropped: the vault stops with [`Self::stop`] alone.
    pub fn leave(&self) -> impl Future<Output = ()> + use<> {
        let (shutdown, half) = (self.shutdown.clone(), self.delay / 2);
        async move {
            shutdown.announce();
            tokio::time::sleep(half).await;
            shutdown.drain();
            tokio::time::sleep(half).await;
        }
    }

    /// Begins to stop: no new connections, waiting reads are answered, renewals in hand are finished.
    pub fn stop(&self) {
        self.shutdown.stop();
    }

    /// Until a part has come to its end by itself, which takes a panic. A vault that serves and renews nothing, or renews and
    /// serves nothing, must not go on as if it were well.
    pub async fn fallen(&mut self) {
        let (_, fallen, _) = futures::future::select_all(&mut self.tasks).await;
        drop(self.tasks.swap_remove(fallen));
    }

    /// Stops and waits until everything is finished; `false` if something was not within the grace period. The answer to
    /// a spend is waited for beyond that, however long the store is away: it may be the only live refresh token there is.
    pub async fn finish(self) -> bool {
        self.stop();
        let finished = tokio::time::timeout(self.grace, futures::future::join_all(self.tasks)).await.is_ok();
        if let spends @ 1.. = self.replica.in_flight.spends() {
            tracing::warn!(
                spends,
                "refresh tokens were spent and what they brought is not written yet: waiting for the store; a second signal would lose it"
            );
            self.replica.in_flight.until_spends_are_written().await;
        }
        self.journal.flush().await;
        finished
    }

    /// Somebody has moved the audit log away: it is opened by its name again.
    pub fn reopen(&self) {
        self.journal.reopen();
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_vault::journal::Unwritten;

    use super::*;

    #[tokio::test]
    async fn a_part_that_falls_is_noticed_and_the_others_can_still_be_stopped() {
        let shutdown = Shutdown::default();
        let stop = shutdown.stopping().clone();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut running = Running {
            address: nowhere,
            management_address: nowhere,
            tasks: vec![tokio::spawn(stop.cancelled_owned()), tokio::spawn(async { panic!("fallen") })],
            shutdown,
            delay: Duration::ZERO,
            journal: Arc::new(Unwritten),
            replica: Arc::default(),
            grace: Duration::from_mins(1),
        };

        running.fallen().await;

        assert_eq!(running.tasks.len(), 1);
        assert!(running.finish().await);
    }
}
