//! Writing what came of a step, and holding on to the answer of a spend until the store has it.

use std::time::Duration;

use tokenvault_core::ports::{StoreError, Write, Written};
use tokenvault_core::record::{Record, State};

use super::renew::{GivenUp, Renewal};

/// How long to wait before the answer to a spend is offered to an absent store again.
const INSIST_PAUSE: Duration = Duration::from_millis(500);

/// Said once for each answer.
const HELD: &str = "the store is away; what Keycloak answered is held in memory until it is back";

/// What a write would lose if it were not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Nothing that cannot be found out or come by again.
    Repeatable,
    /// The answer to a spend: the only copy of the only live refresh token.
    Spent,
    /// A session of the vault's own, which nobody would know of.
    Acquired,
}

impl Renewal<'_> {
    pub(super) async fn write(
        &self,
        before: &Record,
        after: &Record,
        answer: Answer,
        resting: bool,
    ) -> Result<(), GivenUp> {
        if before == after && !resting {
            return Ok(());
        }
        let mut write = Write::between(before, after, self.reconciler.services.attempt());
        write = if answer == Answer::Spent { write.answering(before) } else { write.under(self.lease) };
        if before.terms != after.terms && after.terms.is_some() {
            write = write.on_terms_of(before);
        }
        if resting || matches!(after.state, State::Ended(_)) {
            write = write.releasing();
        }
        let written = match answer {
            Answer::Repeatable => self.reconciler.services.write(&write).await?,
            Answer::Spent | Answer::Acquired => self.insist(&write).await?,
        };
        match written {
            Written::Done | Written::AlreadyDone => Ok(()),
            Written::Conflict | Written::Gone => Err(GivenUp::Conflict),
        }
    }

    /// The answer to a spend is written however long the store is away, whoever holds the lease by then, and a shutdown
    /// waits for it. A new session of the vault's own is offered as long as the process lives: until the store has said
    /// whether the job lives in it, it can neither be left behind nor be revoked, and asking for another one each time would
    /// leave as many at Keycloak.
    async fn insist(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let mut said = false;
        loop {
            match self.reconciler.services.write(write).await {
                Err(StoreError::Unavailable(_)) => {
                    if !std::mem::replace(&mut said, true) {
                        tracing::warn!("{HELD}");
                    }
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
        reconciler.held.keep(record, reconciler.services.clock.now());
        if written.is_ok() {
            return;
        }
        let mut said = false;
        while let Err(error) = reconciler.restore(record).await {
            if !matches!(error, StoreError::Unavailable(_)) {
                return tracing::warn!(%error, "the answer to a spend could not be written");
            }
            if !std::mem::replace(&mut said, true) {
                tracing::warn!("{HELD}");
            }
            tokio::time::sleep(INSIST_PAUSE).await;
        }
    }
}
