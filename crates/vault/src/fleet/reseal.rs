//! Re-sealing: every record is looked at, and what an older key has sealed is sealed anew with the one that was promoted.
//!
//! One replica at a time has the work, under a lease; it notes after each page how far it has come, so that whoever takes
//! the work up after it goes on there. It must never undo a renewal: a record that somebody holds is left until it is given
//! back, and a change is written only if nobody has claimed the record since it was read. It begins when every replica
//! seals with the new key, so that nothing is sealed with an old one behind its back.

use std::time::Duration;

use futures::StreamExt;
use tokenvault_core::ids::JobKey;
use tokenvault_core::ports::{Event, Filter, Resealing, StoreError, Stored, Write};
use tokenvault_core::record::State;

use super::Member;
use crate::store_news::not_done;

/// Records looked at between two notes.
const PAGE: usize = 200;
/// Records worked on at a time: readers come first.
const AT_ONCE: usize = 4;
/// How often a record that somebody holds, or that changed, is looked at again, and how long after.
const TRIES: u32 = 40;
const PAUSE: Duration = Duration::from_millis(500);
/// A lease that ended so long ago has no holder any more; nobody claims it where renewal is paused.
const DEAD: Duration = Duration::from_mins(2);

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// Nothing of it was sealed with another key.
    Nothing,
    /// It was sealed anew.
    Resealed,
    /// Something of it did not open, or it was held all the time.
    Failed,
}

impl Member {
    /// Takes part in what is asked for. May be stopped anywhere: what is not noted is looked at again.
    pub(super) async fn reseal_what_is_asked(&self) {
        loop {
            if let Err(error) = self.reseal().await {
                not_done(&error, "the re-sealing was interrupted");
            }
            tokio::time::sleep(self.pace.rhythm).await;
        }
    }

    async fn reseal(&self) -> Result<(), StoreError> {
        // Asked first without taking it: there is nothing to do most of the time.
        let asked = self.services.fleet.resealing().await?.filter(|work| work.finished_at.is_none());
        let Some(asked) = asked else { return Ok(()) };
        if !self.everybody_seals_with(&asked.key).await? {
            return Ok(());
        }
        let Some(mut work) = self.take().await? else { return Ok(()) };
        tracing::info!(key = work.key, seen = work.seen, total = work.total, "records are sealed anew");
        loop {
            let page = self.services.fleet.walk(&Filter::default(), work.cursor.as_deref(), PAGE).await?;
            for done in self.page(page.records).await? {
                work.seen += 1;
                work.resealed += u64::from(done == Done::Resealed);
                work.failed += u64::from(done == Done::Failed);
            }
            work.failed += page.unreadable;
            work.cursor = page.next;
            if work.cursor.is_none() {
                work.finished_at = Some(self.services.clock.now());
            }
            if !self.services.fleet.note_resealing(&self.id, &work).await? {
                return Ok(());
            }
            if work.finished_at.is_some() {
                return self.finished(&work).await;
            }
            if self.take().await?.is_none_or(|mine| mine.key != work.key) {
                return Ok(());
            }
        }
    }

    async fn take(&self) -> Result<Option<Resealing>, StoreError> {
        let now = self.services.clock.now();
        self.services.fleet.take_resealing(&self.id, now, now + self.pace.lease).await
    }

    async fn everybody_seals_with(&self, key: &str) -> Result<bool, StoreError> {
        let ring = self.services.keyring.current();
        let here = ring.primary() == key && ring.may_seal();
        Ok(here && self.services.fleet.replicas().await?.iter().all(|replica| replica.primary == key))
    }

    async fn page(&self, records: Vec<Stored>) -> Result<Vec<Done>, StoreError> {
        let live = records.into_iter().filter(|stored| !matches!(stored.record.state, State::Ended(_)));
        let mut work = futures::stream::iter(live.map(|stored| self.reseal_record(stored))).buffer_unordered(AT_ONCE);
        let mut all = Vec::new();
        while let Some(done) = work.next().await {
            all.push(done?);
        }
        Ok(all)
    }

    async fn reseal_record(&self, stored: Stored) -> Result<Done, StoreError> {
        let key = stored.record.key.clone();
        let mut stored = Some(stored);
        for _ in 0..TRIES {
            let Some(read) = stored else { return Ok(Done::Nothing) };
            if let Some(done) = self.try_record(&read).await? {
                return Ok(done);
            }
            tokio::time::sleep(PAUSE).await;
            stored = self.load(&key).await?;
        }
        tracing::warn!(tenant = %key.tenant, job = %key.job, "a record was held all the time and is not sealed anew");
        Ok(Done::Failed)
    }

    /// The record as it is now, unless it has ended or cannot be read, which the next walk will count.
    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError> {
        match self.services.store.load(key).await {
            Err(StoreError::Corrupt(_)) => Ok(None),
            loaded => Ok(loaded?.filter(|stored| !matches!(stored.record.state, State::Ended(_)))),
        }
    }

    /// Seals a record anew; `None` if it is to be looked at again.
    async fn try_record(&self, read: &Stored) -> Result<Option<Done>, StoreError> {
        let (services, before) = (&self.services, &read.record);
        let resealed = services.sealer(before).reseal(before);
        if resealed.record == *before && resealed.failures.is_empty() {
            return Ok(Some(Done::Nothing));
        }
        let now = services.clock.now();
        // Whoever holds it has the old seals in hand and may write them in other places.
        if read.leased_until.is_some_and(|until| now < until + DEAD) {
            return Ok(None);
        }
        if resealed.record != *before {
            let write = Write::between(before, &resealed.record, services.attempt()).unclaimed_since(read);
            if !services.write(&write).await?.is_done() {
                return Ok(None);
            }
        }
        for error in &resealed.failures {
            let error = services.seal_failed(*error);
            tracing::error!(%error, tenant = %before.key.tenant, job = %before.key.job, "a sealed token does not open and is left as it is");
        }
        Ok(Some(if resealed.failures.is_empty() { Done::Resealed } else { Done::Failed }))
    }

    async fn finished(&self, work: &Resealing) -> Result<(), StoreError> {
        let (seen, resealed, failed) = (work.seen, work.resealed, work.failed);
        tracing::info!(key = work.key, seen, resealed, failed, "all records are sealed with the new key");
        let event = Event {
            id: String::new(),
            at: self.services.clock.now(),
            kind: "reseal_finished".to_owned(),
            tenant: None,
            job: None,
            reason: (work.failed > 0).then(|| "failures".to_owned()),
            replica: self.id.clone(),
        };
        self.services.fleet.publish(&event).await
    }
}
