//! Writing what came of a step, and holding on to what must not be lost until the store has it.

use std::time::Duration;

use tokenvault_core::policy::{Durability, Turn};
use tokenvault_core::ports::{StoreError, Write, Written};
use tokenvault_core::record::Record;

use super::leased_round::{GivenUp, LeasedRound};

/// How long to wait before what must not be lost is offered to an absent store again.
const OFFER_PAUSE: Duration = Duration::from_millis(500);

/// Said once for each answer.
const HELD: &str = "the store is away; what Keycloak answered is held in memory until it is back";

impl LeasedRound<'_> {
    /// Seals the terms anew where they have changed.
    pub(super) fn seal_terms(&self, mut turn: Turn) -> Result<Turn, GivenUp> {
        let services = &self.context.services;
        if turn.changes_account() {
            // What is sealed anew must have been the vault's own: the record may have been read again since it was claimed.
            services.verify_terms(&turn.before).map_err(|_| GivenUp::Sealed)?;
            turn.round.record = services.with_sealed_terms(&turn.round.record);
        }
        Ok(turn)
    }

    /// Writes the turn, and sees to what would be lost with a write that does not stand.
    pub(super) async fn commit(&self, turn: &Turn) -> Result<(), GivenUp> {
        let written = self.write(turn).await;
        match turn.owed.durability {
            Durability::SpendAnswer => self.keep_answer(turn.after(), written.is_ok()).await,
            // The job was released meanwhile, or somebody else holds it.
            Durability::NewSession if written.is_err() => self.context.services.discard_session(turn.after()).await,
            Durability::NewSession | Durability::Repeatable => {}
        }
        written
    }

    async fn write(&self, turn: &Turn) -> Result<(), GivenUp> {
        if !turn.is_written() {
            return Ok(());
        }
        let (services, before, after) = (&self.context.services, &turn.before, turn.after());
        let mut write = Write::between(before, after, services.attempt());
        write = match turn.owed.durability {
            Durability::SpendAnswer => write.answering(before),
            Durability::Repeatable | Durability::NewSession => write.under(self.lease),
        };
        if before.terms != after.terms && after.terms.is_some() {
            write = write.on_terms_of(before);
        }
        if turn.releases_lease() {
            write = write.releasing();
        }
        let written = match turn.owed.durability {
            Durability::Repeatable => services.write(&write).await?,
            Durability::SpendAnswer | Durability::NewSession => self.write_until_answered(&write).await?,
        };
        match written {
            Written::Done | Written::AlreadyDone => Ok(()),
            Written::Conflict | Written::Gone => Err(GivenUp::Conflict),
        }
    }

    /// Offers a write however long the store is away.
    async fn write_until_answered(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let mut said = false;
        loop {
            match self.context.services.write(write).await {
                Err(StoreError::Unavailable(_)) => wait_for_the_store(&mut said).await,
                answer => return answer,
            }
        }
    }

    /// The answer to a spend is kept in memory until the store is certain to have it. Where its write did not go through,
    /// because others have given the job up meanwhile, it is brought back at once.
    async fn keep_answer(&self, record: &Record, is_written: bool) {
        let (services, held) = (&self.context.services, &self.context.held);
        held.keep(record, services.clock.now());
        if is_written {
            return;
        }
        let mut said = false;
        while let Err(error) = held.restore(services, record).await {
            if !matches!(error, StoreError::Unavailable(_)) {
                return tracing::warn!(%error, "the answer to a spend could not be written");
            }
            wait_for_the_store(&mut said).await;
        }
    }
}

async fn wait_for_the_store(said: &mut bool) {
    if !std::mem::replace(said, true) {
        tracing::warn!("{HELD}");
    }
    tokio::time::sleep(OFFER_PAUSE).await;
}
