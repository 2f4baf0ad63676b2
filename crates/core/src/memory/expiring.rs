//! A map whose values are forgotten at an instant, each as a whole, as Redis forgets keys.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

use crate::ids::JobId;
use crate::time::Timestamp;

/// How long a value is kept whose jobs are not known: longer than a session of Keycloak's is usually allowed to live.
pub(super) const ORPHAN_KEEP: Duration = Duration::from_hours(7 * 24);

/// Values that are forgotten at an instant.
#[derive(Clone)]
pub(super) struct ExpiringMap<K, V>(HashMap<K, (Timestamp, V)>);

impl<K, V> Default for ExpiringMap<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone, V: Default> ExpiringMap<K, V> {
    pub(super) fn get(&mut self, key: &K, now: Timestamp) -> Option<&mut V> {
        if self.0.get(key).is_some_and(|(until, _)| *until <= now) {
            self.0.remove(key);
        }
        self.0.get_mut(key).map(|(_, value)| value)
    }

    /// The value, new if there is none, kept until then at least.
    pub(super) fn extend(&mut self, key: &K, until: Timestamp, now: Timestamp) -> &mut V {
        let _ = self.get(key, now);
        let (kept, value) = self.0.entry(key.clone()).or_default();
        *kept = until.max(*kept);
        value
    }

    /// Forgets the value.
    pub(super) fn forget(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Keeps the value, if there is one, until exactly then.
    pub(super) fn keep(&mut self, key: &K, until: Timestamp) {
        if let Some((kept, _)) = self.0.get_mut(key) {
            *kept = until;
        }
    }
}

impl<K: Hash + Eq + Clone> ExpiringMap<K, BTreeSet<JobId>> {
    /// Takes a member out; an empty set is no entry, as in Redis.
    pub(super) fn remove_member(&mut self, key: &K, job: &JobId, now: Timestamp) {
        let Some(members) = self.get(key, now) else { return };
        members.remove(job);
        if members.is_empty() {
            self.0.remove(key);
        }
    }
}
