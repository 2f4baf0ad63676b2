//! A registration's place among its user's jobs, of which there are so many and no more.
//!
//! The place is taken before anything is asked of Keycloak, so that a job that cannot be had costs nothing there; and it
//! is taken again once the record is there, so that whoever tidied the user's list meanwhile has taken nothing away.

use std::time::Duration;

use tokenvault_core::ids::{JobKey, TenantId, UserId};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use super::{Vault, store_problem};
use crate::problem::{Code, Problem};

/// How often a full list is looked through for entries whose jobs are gone: whoever asks again and again is not to make
/// the store read it again and again.
const LOOK_THROUGH_EVERY: Duration = Duration::from_secs(10);

impl Vault {
    /// Enters a job under its user, if there is room for it.
    pub(super) async fn reserve(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), Problem> {
        let max = self.rules(&key.tenant)?.max_jobs_per_user;
        let enter = async || self.parts.store.reserve_for_user(user, key, keep_until, max).await.map_err(store_problem);
        if enter().await? {
            return Ok(());
        }
        self.make_room(&key.tenant, user, keep_until).await?;
        if enter().await? {
            return Ok(());
        }
        let full = Problem::new(Code::Unsupported, "The user has as many jobs as one user may have.");
        Err(full.with("max_jobs_per_user", max))
    }

    /// The record is there: its entry stays, whoever has taken it for left over meanwhile.
    pub(super) async fn confirm(&self, record: &Record) {
        let _ = self.parts.store.add_to_user(&record.user, &record.key, record.keep_until).await;
    }

    /// Takes out what registrations and ends that were cut short have left behind.
    async fn make_room(&self, tenant: &TenantId, user: &UserId, keep_until: Timestamp) -> Result<(), Problem> {
        if !self.may_look_through() {
            return Ok(());
        }
        let ids = self.parts.store.jobs_of_user(tenant, user, None, usize::MAX).await.map_err(store_problem)?;
        for job in ids {
            let key = JobKey::new(tenant.clone(), job);
            let found = self.parts.store.load(&key).await.map_err(store_problem)?;
            if !found.is_some_and(|stored| stored.record.user == *user && stored.record.state.is_live()) {
                self.parts.leave_user(user, &key, keep_until).await;
            }
        }
        Ok(())
    }

    fn may_look_through(&self) -> bool {
        let (now, mut last) = (self.parts.clock.now(), self.looked_through.lock());
        let may = last.is_none_or(|last| now.since(last) >= LOOK_THROUGH_EVERY);
        if may {
            *last = Some(now);
        }
        may
    }
}
