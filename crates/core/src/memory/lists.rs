//! The lists of jobs by user and by parent, and the counts of records by module.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::expiring::{ExpiringMap, ORPHAN_KEEP};
use crate::ids::{JobId, JobKey, ModuleName, TenantId, UserId};
use crate::time::Timestamp;

#[derive(Clone, Default)]
pub(super) struct Lists {
    users: ExpiringMap<(TenantId, UserId), BTreeSet<JobId>>,
    children: ExpiringMap<JobKey, BTreeSet<JobId>>,
    /// How many records of a module's are kept until which hour.
    shares: HashMap<(TenantId, ModuleName), BTreeMap<u64, usize>>,
}

fn hour(at: Timestamp) -> u64 {
    at.as_millis() / 3_600_000
}

impl Lists {
    pub(super) fn add_to_user(&mut self, user: &UserId, key: &JobKey, keep_until: Timestamp, now: Timestamp) {
        self.users.extend(&(key.tenant.clone(), user.clone()), keep_until, now).insert(key.job.clone());
    }

    pub(super) fn reserve_for_user(
        &mut self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
        now: Timestamp,
    ) -> bool {
        let jobs = self.users.get(&(key.tenant.clone(), user.clone()), now);
        let full = jobs.is_some_and(|jobs| jobs.len() >= max && !jobs.contains(&key.job));
        if !full {
            self.add_to_user(user, key, keep_until, now);
        }
        !full
    }

    pub(super) fn remove_from_user(&mut self, user: &UserId, key: &JobKey, now: Timestamp) {
        self.users.remove_member(&(key.tenant.clone(), user.clone()), &key.job, now);
    }

    pub(super) fn jobs_of_user(&mut self, tenant: &TenantId, user: &UserId, now: Timestamp) -> BTreeSet<JobId> {
        self.users.get(&(tenant.clone(), user.clone()), now).cloned().unwrap_or_default()
    }

    pub(super) fn take_share(
        &mut self,
        (tenant, module): (&TenantId, &ModuleName),
        keep_until: Timestamp,
        max: usize,
        now: Timestamp,
    ) -> bool {
        let counts = self.shares.entry((tenant.clone(), module.clone())).or_default();
        counts.retain(|until, _| *until >= hour(now));
        let room = counts.values().sum::<usize>() < max;
        if room {
            *counts.entry(hour(keep_until)).or_default() += 1;
        }
        room
    }

    pub(super) fn move_share(
        &mut self,
        (tenant, module): (&TenantId, &ModuleName),
        from: Timestamp,
        to: Option<Timestamp>,
    ) {
        let Some(counts) = self.shares.get_mut(&(tenant.clone(), module.clone())) else { return };
        let Some(count) = counts.get_mut(&hour(from)).filter(|count| **count > 0) else { return };
        *count -= 1;
        if let Some(to) = to {
            *counts.entry(hour(to)).or_default() += 1;
        }
    }

    pub(super) fn add_child(
        &mut self,
        parent: &JobKey,
        child: &JobId,
        max: usize,
        parent_kept_until: Option<Timestamp>,
        now: Timestamp,
    ) -> bool {
        let (known, count) =
            self.children.get(parent, now).map_or((false, 0), |children| (children.contains(child), children.len()));
        if !known && count >= max {
            return false;
        }
        if !known {
            self.children.extend(parent, now, now).insert(child.clone());
        }
        self.children.keep(parent, parent_kept_until.unwrap_or(now + ORPHAN_KEEP));
        true
    }

    pub(super) fn keep_children(&mut self, parent: &JobKey, keep_until: Timestamp) {
        self.children.keep(parent, keep_until);
    }

    pub(super) fn remove_child(&mut self, parent: &JobKey, child: &JobId, now: Timestamp) {
        self.children.remove_member(parent, child, now);
    }
}
