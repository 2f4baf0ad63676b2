//! A registration's place among its user's jobs, of which there are so many and no more.
//!
//! The place is taken before anything is asked of Keycloak, so that a job that cannot be had costs nothing there; and it
//! is taken again once the record is there, so that whoever tidied the user's list meanwhile has taken nothing away.

use std::time::Duration;

use tokenvault_core::ids::{JobKey, ModuleName, TenantId, UserId};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use super::{Vault, store_problem};
use crate::problem::{Code, Problem};

/// How often a full list is looked through for entries whose jobs are gone: whoever asks again and again is not to make
/// the store read it again and again.
const LOOK_THROUGH_EVERY: Duration = Duration::from_secs(10);

/// When a module that has used its share up may ask again: places become free by the hour.
const SHARE_PAUSE: Duration = Duration::from_mins(1);

impl Vault {
    /// Takes a record of the module's share and enters the job under its user, if there is room for it.
    pub(super) async fn reserve(
        &self,
        by: &ModuleName,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
    ) -> Result<(), Problem> {
        let (store, rules) = (&self.services.store, self.rules(&key.tenant)?);
        let most = rules.max_records_per_module;
        if !store.take_share(&key.tenant, by, keep_until, most).await.map_err(store_problem)? {
            let full =
                "The module has as many jobs in this tenant as it may have, those counted that have ended lately.";
            let full = Problem::new(Code::TooManyRequests, full).with("reason", "module_share");
            return Err(full.with("max_records_per_module", most).retry_after(SHARE_PAUSE));
        }
        let entered = self.enter_under_user(user, key, keep_until).await;
        if entered.is_err() {
            self.return_share(by, key, keep_until).await;
        }
        entered
    }

    /// A job that did not come to be is not counted. What fails here is counted until it would have been forgotten.
    pub(super) async fn return_share(&self, by: &ModuleName, key: &JobKey, keep_until: Timestamp) {
        let _ = self.services.store.move_share(&key.tenant, by, keep_until, None).await;
    }

    async fn enter_under_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), Problem> {
        let max = self.rules(&key.tenant)?.max_jobs_per_user;
        let enter =
            async || self.services.store.reserve_for_user(user, key, keep_until, max).await.map_err(store_problem);
        if enter().await? {
            return Ok(());
        }
        self.remove_stale_entries(&key.tenant, user, keep_until).await?;
        if enter().await? {
            return Ok(());
        }
        let full = Problem::new(Code::Unsupported, "The user has as many jobs as one user may have.");
        Err(full.with("max_jobs_per_user", max))
    }

    /// The record is there: its entry stays, whoever has taken it for left over meanwhile.
    pub(super) async fn confirm_user_entry(&self, record: &Record) {
        let _ = self.services.store.add_to_user(&record.user, &record.key, record.keep_until).await;
    }

    /// Takes out what registrations and ends that were cut short have left behind.
    async fn remove_stale_entries(
        &self,
        tenant: &TenantId,
        user: &UserId,
        keep_until: Timestamp,
    ) -> Result<(), Problem> {
        if !self.may_look_through(&format!("{tenant}/{user}")) {
            return Ok(());
        }
        let ids = self.services.store.jobs_of_user(tenant, user, None, usize::MAX).await.map_err(store_problem)?;
        for job in ids {
            let key = JobKey::new(tenant.clone(), job);
            let found = self.services.store.load(&key).await.map_err(store_problem)?;
            if !found.is_some_and(|stored| stored.record.user == *user && stored.record.state.is_live()) {
                self.services.leave_user(user, &key, keep_until).await;
            }
        }
        Ok(())
    }

    /// Whether what belongs to a user, or to a session, may be looked through again. One that is full has others wait for
    /// nothing.
    pub(super) fn may_look_through(&self, whose: &str) -> bool {
        let (now, mut looked) = (self.services.clock.now(), self.looked_through.lock());
        looked.retain(|_, last| now.since(*last) < LOOK_THROUGH_EVERY);
        let may = !looked.contains_key(whose);
        if may {
            looked.insert(whose.to_owned(), now);
        }
        may
    }
}
