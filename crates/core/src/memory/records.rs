//! The records of the in-memory store, with their leases and their entries in the due index. Each method does what the
//! method of the same name of [`JobStore`](crate::ports::JobStore) promises.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::due::Due;
use crate::ids::{AttemptId, Fence, Generation, JobKey, ReplicaId, Shard};
use crate::ports::{Claim, Claimed, Created, Lease, StoreError, Stored, Write, WriteGuard, Written};
use crate::record::{Fields, Record, decode, encode};
use crate::seal::Sealed;
use crate::time::Timestamp;

/// How many attempts are remembered for a record.
const ATTEMPTS: usize = 16;

/// From how many records on the expired ones are looked for.
const LEAST_SWEEP: usize = 1024;

#[derive(Clone, Default)]
pub(super) struct Records {
    entries: HashMap<JobKey, RecordEntry>,
    due: BTreeMap<Shard, Due>,
    sweep_at: usize,
}

#[derive(Clone)]
struct RecordEntry {
    fields: Fields,
    fence: Fence,
    lease: Option<(ReplicaId, Timestamp)>,
    attempts: VecDeque<AttemptId>,
    keep_until: Timestamp,
}

impl RecordEntry {
    fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(|value| std::str::from_utf8(value).ok())
    }

    fn state_is(&self, code: &str) -> bool {
        self.text("state") == Some(code)
    }

    fn remember(&mut self, attempt: AttemptId) {
        self.attempts.push_front(attempt);
        self.attempts.truncate(ATTEMPTS);
    }

    fn stored(&self) -> Result<Stored, StoreError> {
        let record = decode(&self.fields).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        Ok(Stored { record, fence: self.fence, leased_until: self.lease.as_ref().map(|(_, until)| *until) })
    }

    fn allows(&self, guard: &WriteGuard) -> bool {
        let same = |field: &str, expected: Option<String>| {
            expected.is_none_or(|expected| self.text(field) == Some(expected.as_str()))
        };
        same("gen", Some(guard.generation.to_string()))
            && same("state", guard.state.map(str::to_owned))
            && same("intent", guard.intent.map(|intent| intent.to_string()))
            && same("inc", guard.incarnation.map(|incarnation| incarnation.to_string()))
            && guard
                .terms
                .as_ref()
                .is_none_or(|terms| self.fields.get("terms").map(Vec::as_slice) == terms.sealed().map(Sealed::as_bytes))
            && guard.fence.or(guard.seen).is_none_or(|fence| fence == self.fence)
    }

    fn set(&mut self, write: &Write<'_>) {
        for (name, value) in &write.change.set {
            self.fields.insert(name.clone(), value.clone());
        }
        for name in &write.change.remove {
            self.fields.remove(name);
        }
        self.remember(write.attempt);
        if let Some(keep) = self.text("keep").and_then(|keep| keep.parse().ok()) {
            self.keep_until = Timestamp::from_millis(keep);
        }
    }

    fn set_due(&mut self, at: Option<Timestamp>) {
        match at {
            Some(at) => self.fields.insert("due".to_owned(), at.as_millis().to_string().into_bytes()),
            None => self.fields.remove("due"),
        };
    }
}

/// The record, unless it has expired.
fn live<'a>(
    entries: &'a mut HashMap<JobKey, RecordEntry>,
    key: &JobKey,
    now: Timestamp,
) -> Option<&'a mut RecordEntry> {
    if entries.get(key).is_some_and(|entry| entry.keep_until <= now) {
        entries.remove(key);
    }
    entries.get_mut(key)
}

impl Records {
    pub(super) fn load(&mut self, key: &JobKey, now: Timestamp) -> Result<Option<Stored>, StoreError> {
        live(&mut self.entries, key, now).map(|entry| entry.stored()).transpose()
    }

    pub(super) fn kept_until(&mut self, key: &JobKey, now: Timestamp) -> Option<Timestamp> {
        live(&mut self.entries, key, now).map(|entry| entry.keep_until)
    }

    pub(super) fn create(
        &mut self,
        record: &Record,
        replaces: Option<Generation>,
        attempt: AttemptId,
        now: Timestamp,
    ) -> Result<Created, StoreError> {
        self.sweep(now);
        let (mut fence, mut attempts) = (Fence::default(), VecDeque::new());
        if let Some(old) = live(&mut self.entries, &record.key, now) {
            if old.attempts.contains(&attempt) {
                return Ok(Created::AlreadyDone);
            }
            let expected = replaces.is_some_and(|generation| old.text("gen") == Some(&generation.to_string()));
            if !expected || !old.state_is("ended") {
                return Ok(Created::Exists(Box::new(old.stored()?)));
            }
            // An old holder's fence must stay old, and an old attempt must stay known.
            (fence, attempts) = (old.fence, std::mem::take(&mut old.attempts));
        }
        let mut entry =
            RecordEntry { fields: encode(record), fence, lease: None, attempts, keep_until: record.keep_until };
        entry.remember(attempt);
        self.entries.insert(record.key.clone(), entry);
        let index = self.due.entry(record.key.shard()).or_default();
        match record.due_at {
            Some(at) => index.put(&record.key, at),
            None => index.take(&record.key),
        }
        Ok(Created::Done)
    }

    /// The records after a name, in order of their names, and the last name where there are more.
    pub(super) fn page(
        &self,
        after: Option<&str>,
        count: usize,
        now: Timestamp,
    ) -> (Vec<Result<Stored, StoreError>>, Option<String>) {
        let live = self.entries.iter().filter(|(_, entry)| entry.keep_until > now);
        let mut names: Vec<(String, &RecordEntry)> = live.map(|(key, entry)| (key.to_string(), entry)).collect();
        names.retain(|(name, _)| after.is_none_or(|after| name.as_str() > after));
        names.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let next = (names.len() > count).then(|| names[count - 1].0.clone());
        (names.into_iter().take(count).map(|(_, entry)| entry.stored()).collect(), next)
    }

    /// The codes of all records' states.
    pub(super) fn states(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        self.entries.values().filter(move |entry| entry.keep_until > now).filter_map(|entry| entry.text("state"))
    }

    /// How many records have an entry in the due index.
    pub(super) fn in_due_index(&self) -> u64 {
        self.due.values().map(|index| index.len() as u64).sum()
    }

    /// Forgets expired records that nobody asks for; the cost of looking is spread over as many creations.
    fn sweep(&mut self, now: Timestamp) {
        if self.entries.len() >= self.sweep_at {
            self.entries.retain(|_, entry| entry.keep_until > now);
            self.sweep_at = (self.entries.len() * 2).max(LEAST_SWEEP);
        }
    }

    pub(super) fn write(&mut self, write: &Write<'_>, now: Timestamp) -> Written {
        let Some(entry) = live(&mut self.entries, write.key, now) else { return Written::Gone };
        if entry.attempts.contains(&write.attempt) {
            return Written::AlreadyDone;
        }
        if entry.state_is("ended") || !entry.allows(&write.guard) {
            return Written::Conflict;
        }
        let was_releasing = entry.state_is("releasing");
        entry.set(write);
        let fenced = write.guard.fence.is_some();
        let begins_release = !fenced && !was_releasing && entry.state_is("releasing");
        if write.due_at.is_none() || begins_release || (fenced && write.release_lease) {
            entry.lease = None;
        }
        let index = self.due.entry(write.key.shard()).or_default();
        let leased_until = entry.lease.as_ref().map(|(_, until)| *until);
        match (write.due_at, leased_until) {
            (None, _) => {
                entry.set_due(None);
                index.take(write.key);
            }
            (Some(_), Some(until)) => {
                if index.at(write.key).is_none() {
                    index.put(write.key, until);
                }
            }
            (Some(at), None) => {
                if fenced || begins_release || touches_due(write) || index.at(write.key).is_none() {
                    entry.set_due(Some(at));
                    index.put(write.key, at);
                }
            }
        }
        Written::Done
    }

    pub(super) fn claim(&mut self, shard: Shard, claim: &Claim<'_>, now: Timestamp) -> Vec<Claimed> {
        let index = self.due.entry(shard).or_default();
        let mut claimed = Vec::new();
        let mut taken = 0;
        while taken < claim.limit {
            let Some((due_at, key)) = index.first(claim.now) else { break };
            let Some(entry) = live(&mut self.entries, &key, now) else {
                index.take(&key);
                continue;
            };
            let until = claim.now + claim.lease;
            // A store that has lost claims must not hand the same fence to two holders.
            entry.fence = Fence(entry.fence.next().0.max(claim.now.as_millis()));
            entry.lease = Some((claim.replica.clone(), until));
            index.put(&key, until);
            taken += 1;
            // One that cannot be read keeps its lease and blocks nobody.
            if let Ok(record) = decode(&entry.fields) {
                claimed.push(Claimed { lease: Lease { key, fence: entry.fence, until }, record, due_at });
            }
        }
        claimed
    }

    pub(super) fn holds(&mut self, lease: &Lease, now: Timestamp) -> bool {
        live(&mut self.entries, &lease.key, now).is_some_and(|entry| {
            entry.fence == lease.fence && entry.lease.as_ref().is_some_and(|(_, until)| *until == lease.until)
        })
    }

    pub(super) fn announce_logout(
        &mut self,
        key: &JobKey,
        heard_at: Timestamp,
        times: (Timestamp, Timestamp),
        now: Timestamp,
    ) {
        if let Some(entry) = live(&mut self.entries, key, now).filter(|entry| !entry.state_is("ended")) {
            entry.lease = None;
            entry.fields.insert("announced".to_owned(), heard_at.as_millis().to_string().into_bytes());
        }
        self.make_due(key, times, now);
    }

    /// Makes a job due at `due`, if it is not due sooner. Until `renew` it is then only looked at, not renewed. A time of
    /// renewal between the two stays. A leased job stays with its holder. An ended job does not change.
    pub(super) fn make_due(&mut self, key: &JobKey, (due, renew): (Timestamp, Timestamp), now: Timestamp) {
        let Some(entry) = live(&mut self.entries, key, now) else { return };
        if entry.state_is("ended") {
            return;
        }
        let stands = entry.fields.get("renew").and_then(|at| std::str::from_utf8(at).ok()?.parse().ok());
        if !stands.is_some_and(|at: u64| at > due.as_millis() && at < renew.as_millis()) {
            entry.fields.insert("renew".to_owned(), renew.as_millis().to_string().into_bytes());
        }
        if entry.lease.is_some() {
            return;
        }
        let index = self.due.entry(key.shard()).or_default();
        if index.at(key).is_none_or(|at| at > due) {
            entry.set_due(Some(due));
            index.put(key, due);
        }
    }

    pub(super) fn count_due(&self, shard: Shard, now: Timestamp) -> u64 {
        self.due.get(&shard).map_or(0, |index| index.count(now)) as u64
    }
}

fn touches_due(write: &Write<'_>) -> bool {
    write.change.set.contains_key("due") || write.change.remove.iter().any(|name| name == "due")
}
