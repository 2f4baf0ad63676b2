//! Writing what came of a step, and holding on to the answer of a spend until the store has it.

use std::time::Duration;

use tokenvault_core::ports::{StoreError, Write, Written};
use tokenvault_core::record::{Record, State};

use super::renew::{GivenUp, Renewal};

/// How long to wait before the answer to a spend is offered to an absent store again.
const INSIST_PAUSE: Duration = Duration::from_millis(500);

impl Renewal<'_> {
    pub(super) async fn write(
        &self,
        before: &Record,
        after: &Record,
        answered: bool,
        resting: bool,
    ) -> Result<(), GivenUp> {
        if before == after && !resting {
            return Ok(());
        }
        let mut write = Write::between(before, after, self.reconciler.parts.attempt());
        write = if answered { write.answering(before) } else { write.under(self.lease) };
        if resting || matches!(after.state, State::Ended(_)) {
            write = write.releasing();
        }
        let written = match write.guard.intent {
            Some(_) => self.insist(&write).await?,
            None => self.reconciler.parts.write(&write).await?,
        };
        match written {
            Written::Done | Written::AlreadyDone => Ok(()),
            Written::Conflict | Written::Gone => Err(GivenUp::Conflict),
        }
    }

    /// The answer to a spend is the only copy of the only live refresh token: it is written however long the store is
    /// away, whoever holds the lease by then, and a shutdown waits for it.
    async fn insist(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        loop {
            match self.reconciler.parts.write(write).await {
                Err(StoreError::Unavailable(why)) => {
                    tracing::warn!(why, "the store is away; the answer to a spend is held in memory until it is back");
                    tokio::time::sleep(INSIST_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// What was spent for is kept in memory until the store is certain to have it. Where the write did not go through,
    /// because others have given the job up meanwhile, it is brought back at once.
    pub(super) async fn secure(&self, record: &Record, written: &Result<(), GivenUp>) {
        let reconciler = self.reconciler;
        reconciler.held.keep(record, reconciler.parts.clock.now());
        if written.is_err()
            && let Err(error) = reconciler.restore(record).await
        {
            tracing::warn!(%error, "the answer to a spend is held in memory until the store is back");
        }
    }
}
