//! What replicas and operators tell each other, kept in memory by the rules of [`Fleet`].

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use async_trait::async_trait;

use super::MemoryStore;
use crate::ids::ReplicaId;
use crate::ports::{
    Census, Event, Filter, Fleet, KeyProof, LARGEST_PAGE, NEWEST_SCHEMA, Page, Pause, Promoted, ReplicaStatus,
    Resealing, StoreError, event_place,
};
use crate::time::Timestamp;

/// How many events are kept.
const EVENTS: usize = 10_000;

#[derive(Clone, Default)]
pub(super) struct FleetState {
    replicas: BTreeMap<ReplicaId, (Timestamp, ReplicaStatus)>,
    promoted: Option<String>,
    checks: BTreeMap<String, String>,
    pause: Option<Pause>,
    resealing: Option<Resealing>,
    census: Option<(Timestamp, Census)>,
    events: VecDeque<Event>,
    last_event: (u64, u64),
}

impl FleetState {
    fn live(&mut self, now: Timestamp) -> impl Iterator<Item = &ReplicaStatus> {
        self.replicas.retain(|_, (until, _)| *until > now);
        self.replicas.values().map(|(_, status)| status)
    }

    fn promote(&mut self, key: &str, now: Timestamp) -> Promoted {
        if self.promoted.as_deref() == Some(key) {
            return Promoted::Already;
        }
        let (mut live, mut missing, mut checks) = (Vec::new(), Vec::new(), Vec::new());
        for status in self.live(now) {
            live.push(status.id.clone());
            match status.keys.get(key) {
                Some(check) => checks.push(check.clone()),
                None => missing.push(status.id.clone()),
            }
        }
        if !missing.is_empty() || live.is_empty() {
            return Promoted::Missing(missing);
        }
        checks.extend(self.checks.get(key).cloned());
        checks.sort();
        checks.dedup();
        if checks.len() > 1 {
            return Promoted::Differs(live);
        }
        self.promoted = Some(key.to_owned());
        Promoted::Done
    }

    fn vouch(&mut self, id: &str, check: &str, proof: KeyProof, now: Timestamp) -> String {
        if let Some(standing) = self.checks.get(id) {
            return standing.clone();
        }
        let other = |status: &ReplicaStatus| status.keys.get(id).filter(|held| *held != check).cloned();
        let held = self.live(now).find_map(other).filter(|_| proof == KeyProof::Unused);
        held.unwrap_or_else(|| self.checks.entry(id.to_owned()).or_insert_with(|| check.to_owned()).clone())
    }

    fn start(&mut self, resealing: &Resealing) -> Resealing {
        match &self.resealing {
            Some(standing) if standing.finished_at.is_none() && standing.key == resealing.key => standing.clone(),
            _ => self.resealing.insert(resealing.clone()).clone(),
        }
    }

    fn take(&mut self, replica: &ReplicaId, now: Timestamp, until: Timestamp) -> Option<Resealing> {
        let work = self.resealing.as_mut().filter(|work| work.finished_at.is_none())?;
        if work.worker.as_ref().is_some_and(|(holder, held)| holder != replica && *held > now) {
            return None;
        }
        work.worker = Some((replica.clone(), until));
        Some(work.clone())
    }

    fn note(&mut self, replica: &ReplicaId, progress: &Resealing) -> bool {
        let Some(work) = self.resealing.as_mut() else { return false };
        let same = work.key == progress.key && work.started_at == progress.started_at;
        if !same || work.worker.as_ref().is_none_or(|(holder, _)| holder != replica) {
            return false;
        }
        *work = Resealing { worker: work.worker.clone(), total: work.total, ..progress.clone() };
        true
    }

    fn publish(&mut self, event: &Event, now: Timestamp) {
        let (time, number) = self.last_event;
        self.last_event = if now.as_millis() > time { (now.as_millis(), 0) } else { (time, number + 1) };
        let id = format!("{}-{}", self.last_event.0, self.last_event.1);
        self.events.push_back(Event { id, ..event.clone() });
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    fn told(&self, after: Option<&str>, count: usize) -> Vec<Event> {
        match after.and_then(event_place) {
            Some(place) => {
                let later = |event: &&Event| event_place(&event.id).is_some_and(|at| at > place);
                self.events.iter().filter(later).take(count).cloned().collect()
            }
            None => self.events.iter().skip(self.events.len().saturating_sub(count)).cloned().collect(),
        }
    }
}

#[async_trait]
impl Fleet for MemoryStore {
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

    async fn schema(&self) -> Result<u32, StoreError> {
        Ok(NEWEST_SCHEMA)
    }

    async fn replicas(&self) -> Result<Vec<ReplicaStatus>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.live(now).cloned().collect())
    }

    async fn promoted_key(&self) -> Result<Option<String>, StoreError> {
        Ok(self.state().0.fleet.promoted.clone())
    }

    async fn key_checks(&self) -> Result<BTreeMap<String, String>, StoreError> {
        Ok(self.state().0.fleet.checks.clone())
    }

    async fn vouch_for_key(&self, id: &str, check: &str, proof: KeyProof) -> Result<String, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.vouch(id, check, proof, now))
    }

    async fn promote(&self, key: &str) -> Result<Promoted, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.fleet.promote(key, now))
    }

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

    async fn start_resealing(&self, resealing: &Resealing) -> Result<Resealing, StoreError> {
        Ok(self.state().0.fleet.start(resealing))
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
        Ok(self.state().0.fleet.take(replica, now, until))
    }

    async fn note_resealing(&self, replica: &ReplicaId, progress: &Resealing) -> Result<bool, StoreError> {
        Ok(self.state().0.fleet.note(replica, progress))
    }

    async fn walk(&self, filter: &Filter, from: Option<&str>, count: usize) -> Result<Page, StoreError> {
        let epoch = self.epoch_number();
        let (state, now) = self.state();
        let after = from.and_then(|from| from.strip_prefix(&format!("{epoch}:")));
        let (page, next) = state.records.page(after, count.clamp(1, LARGEST_PAGE), now);
        let mut shown = Page { records: Vec::new(), unreadable: 0, next: next.map(|next| format!("{epoch}:{next}")) };
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

    async fn publish(&self, event: &Event) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.fleet.publish(event, now);
        Ok(())
    }

    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, StoreError> {
        Ok(self.state().0.fleet.told(after, count))
    }
}
