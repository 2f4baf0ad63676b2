//! What replicas and operators tell each other, kept in memory by the rules of [`Fleet`](crate::ports::Fleet).

use std::collections::{BTreeMap, VecDeque};

use crate::ids::ReplicaId;
use crate::ports::{Census, Event, KeyProof, Pause, Promoted, ReplicaStatus, Resealing, event_place};
use crate::time::Timestamp;

/// How many events are kept.
const EVENTS: usize = 10_000;

#[derive(Clone, Default)]
pub(super) struct FleetState {
    pub(super) replicas: BTreeMap<ReplicaId, (Timestamp, ReplicaStatus)>,
    pub(super) promoted: Option<String>,
    pub(super) checks: BTreeMap<String, String>,
    pub(super) pause: Option<Pause>,
    pub(super) resealing: Option<Resealing>,
    pub(super) census: Option<(Timestamp, Census)>,
    events: VecDeque<Event>,
    last_event: (u64, u64),
}

impl FleetState {
    pub(super) fn live_replicas(&mut self, now: Timestamp) -> impl Iterator<Item = &ReplicaStatus> {
        self.replicas.retain(|_, (until, _)| *until > now);
        self.replicas.values().map(|(_, status)| status)
    }

    pub(super) fn promote(&mut self, key: &str, now: Timestamp) -> Promoted {
        if self.promoted.as_deref() == Some(key) {
            return Promoted::Already;
        }
        let (mut live, mut missing, mut checks) = (Vec::new(), Vec::new(), Vec::new());
        for status in self.live_replicas(now) {
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

    pub(super) fn vouch_for_key(&mut self, id: &str, check: &str, proof: KeyProof, now: Timestamp) -> String {
        if let Some(standing) = self.checks.get(id) {
            return standing.clone();
        }
        let other = |status: &ReplicaStatus| status.keys.get(id).filter(|held| *held != check).cloned();
        let held = self.live_replicas(now).find_map(other).filter(|_| proof == KeyProof::Unused);
        held.unwrap_or_else(|| self.checks.entry(id.to_owned()).or_insert_with(|| check.to_owned()).clone())
    }

    pub(super) fn start_resealing(&mut self, resealing: &Resealing) -> Resealing {
        match &self.resealing {
            Some(standing) if standing.finished_at.is_none() && standing.key == resealing.key => standing.clone(),
            _ => self.resealing.insert(resealing.clone()).clone(),
        }
    }

    pub(super) fn take_resealing(
        &mut self,
        replica: &ReplicaId,
        now: Timestamp,
        until: Timestamp,
    ) -> Option<Resealing> {
        let work = self.resealing.as_mut().filter(|work| work.finished_at.is_none())?;
        if work.worker.as_ref().is_some_and(|(holder, held)| holder != replica && *held > now) {
            return None;
        }
        work.worker = Some((replica.clone(), until));
        Some(work.clone())
    }

    pub(super) fn note_resealing(&mut self, replica: &ReplicaId, progress: &Resealing) -> bool {
        let Some(work) = self.resealing.as_mut() else { return false };
        let same = work.key == progress.key && work.started_at == progress.started_at;
        if !same || work.worker.as_ref().is_none_or(|(holder, _)| holder != replica) {
            return false;
        }
        *work = Resealing { worker: work.worker.clone(), total: work.total, ..progress.clone() };
        true
    }

    pub(super) fn publish(&mut self, event: &Event, now: Timestamp) {
        let (time, number) = self.last_event;
        self.last_event = if now.as_millis() > time { (now.as_millis(), 0) } else { (time, number + 1) };
        let id = format!("{}-{}", self.last_event.0, self.last_event.1);
        self.events.push_back(Event { id, ..event.clone() });
        if self.events.len() > EVENTS {
            self.events.pop_front();
        }
    }

    pub(super) fn events_after(&self, after: Option<&str>, count: usize) -> Vec<Event> {
        match after.and_then(event_place) {
            Some(place) => {
                let later = |event: &&Event| event_place(&event.id).is_some_and(|at| at > place);
                self.events.iter().filter(later).take(count).cloned().collect()
            }
            None => self.events.iter().skip(self.events.len().saturating_sub(count)).cloned().collect(),
        }
    }
}
