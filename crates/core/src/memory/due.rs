//! The due index of one shard, ordered as a Redis sorted set is: by time, then by the member's bytes.

use std::collections::{BTreeSet, HashMap};

use crate::ids::JobKey;
use crate::time::Timestamp;

#[derive(Clone, Default)]
pub(super) struct Due {
    order: BTreeSet<(Timestamp, String)>,
    keys: HashMap<String, (Timestamp, JobKey)>,
}

impl Due {
    pub(super) fn at(&self, key: &JobKey) -> Option<Timestamp> {
        self.keys.get(&key.to_string()).map(|(at, _)| *at)
    }

    pub(super) fn put(&mut self, key: &JobKey, at: Timestamp) {
        self.take(key);
        let member = key.to_string();
        self.order.insert((at, member.clone()));
        self.keys.insert(member, (at, key.clone()));
    }

    pub(super) fn take(&mut self, key: &JobKey) {
        if let Some((at, _)) = self.keys.remove(&key.to_string()) {
            self.order.remove(&(at, key.to_string()));
        }
    }

    /// The first entry that is due.
    pub(super) fn first(&self, now: Timestamp) -> Option<(Timestamp, JobKey)> {
        let (at, member) = self.order.first().filter(|(at, _)| *at <= now)?;
        self.keys.get(member).map(|(_, key)| (*at, key.clone()))
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn count(&self, now: Timestamp) -> usize {
        self.order.iter().take_while(|(at, _)| *at <= now).count()
    }
}
