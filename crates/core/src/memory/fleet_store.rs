//! The ports of a [`Fleet`](crate::ports::Fleet): each operation under the lock, at one instant.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::store::MemoryStore;
use crate::ids::ReplicaId;
use crate::ports::{
    Census, Event, EventStore, Filter, InventoryStore, KeyProof, KeyStore, LARGEST_PAGE, NEWEST_SCHEMA, Pause,
    PauseStore, Promoted, RecordPage, ReplicaStatus, ReplicaStore, Resealing, ResealingStore, StoreError,
};
use crate::time::Timestamp;

#[async_trait]
impl ReplicaStore for MemoryStore {
    async fn announce(&self, status: &ReplicaStatus, keep: Duration) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        let told = ReplicaStatus { seen_at: now, ..status.clone() };
        state.fleet.replicas.insert(status.id.clone(), (now + keep, told));
        Ok(())
    }

    async fn depart(&self, replica: &ReplicaId) -> Result<(), StoreError> {
        self.state().0.fleet.replicas.remove(replica);
        Ok(())
    }

    async fn replicas(&self) -> Result<Vec<ReplicaStatus>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.live_replicas(now).cloned().collect())
    }
}

#[async_trait]
impl KeyStore for MemoryStore {
    async fn promoted_key(&self) -> Result<Option<String>, StoreError> {
        Ok(self.state().0.fleet.promoted.clone())
    }

    async fn key_checks(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.state().0.fleet.checks.clone())
    }

    async fn vouch_for_key(&self, id: &str, check: &str, proof: KeyProof) -> Result<String, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.vouch_for_key(id, check, proof, now))
    }

    async fn promote(&self, key: &str) -> Result<Promoted, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.promote(key, now))
    }
}

#[async_trait]
impl PauseStore for MemoryStore {
    async fn pause(&self, pause: &Pause) -> Result<(), StoreError> {
        self.state().0.fleet.pause = Some(pause.clone());
        Ok(())
    }

    async fn resume(&self) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.pause.take().is_some_and(|pause| pause.until > now))
    }

    async fn paused(&self) -> Result<Option<Pause>, StoreError> {
        let (state, now) = self.state();
        Ok(state.fleet.pause.clone().filter(|pause| pause.until > now))
    }
}

#[async_trait]
impl ResealingStore for MemoryStore {
    async fn start_resealing(&self, resealing: &Resealing) -> Result<Resealing, StoreError> {
        Ok(self.state().0.fleet.start_resealing(resealing))
    }

    async fn resealing(&self) -> Result<Option<Resealing>, StoreError> {
        Ok(self.state().0.fleet.resealing.clone())
    }

    async fn take_resealing(
        &self,
        replica: &ReplicaId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Resealing>, StoreError> {
        Ok(self.state().0.fleet.take_resealing(replica, now, until))
    }

    async fn note_resealing(&self, replica: &ReplicaId, progress: &Resealing) -> Result<bool, StoreError> {
        Ok(self.state().0.fleet.note_resealing(replica, progress))
    }
}

#[async_trait]
impl InventoryStore for MemoryStore {
    async fn schema(&self) -> Result<u32, StoreError> {
        Ok(NEWEST_SCHEMA)
    }

    async fn walk(&self, filter: &Filter, from: Option<&str>, count: usize) -> Result<RecordPage, StoreError> {
        let epoch = self.epoch_number();
        let (state, now) = self.state();
        let after = from.and_then(|from| from.strip_prefix(&format!("{epoch}:")));
        let (page, next) = state.records.page(after, count.clamp(1, LARGEST_PAGE), now);
        let mut shown =
            RecordPage { records: Vec::new(), unreadable: 0, next: next.map(|next| format!("{epoch}:{next}")) };
        for stored in page {
            match stored {
                Ok(stored) if filter.admits(&stored) => shown.records.push(stored),
                Ok(_) => {}
                Err(_) => shown.unreadable += 1,
            }
        }
        Ok(shown)
    }

    async fn estimate(&self) -> Result<u64, StoreError> {
        let (state, _) = self.state();
        Ok(state.records.in_due_index())
    }

    async fn count_states(&self) -> Result<Census, StoreError> {
        let (state, now) = self.state();
        let mut census = Census::default();
        state.records.states(now).for_each(|code| census.count(code));
        Ok(census)
    }

    async fn share_census(&self, census: &Census, keep: Duration) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.fleet.census = Some((now + keep, *census));
        Ok(())
    }

    async fn census(&self) -> Result<Option<Census>, StoreError> {
        let (state, now) = self.state();
        Ok(state.fleet.census.filter(|(until, _)| *until > now).map(|(_, census)| census))
    }
}

#[async_trait]
impl EventStore for MemoryStore {
    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.fleet.publish(event, now);
        Ok(())
    }

    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.state().0.fleet.events_after(after, count))
    }
}
