//! The lists of jobs by user, and how many records each module has.

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, JobKey, ModuleName, TenantId, UserId};
use tokenvault_core::ports::{ShareStore, StoreError, UserStore};
use tokenvault_core::time::Timestamp;

use crate::link::{Query, Repeat};
use crate::store::RedisStore;
use crate::units::millis;
use crate::{keys, scripts};

#[async_trait]
impl UserStore for RedisStore {
    async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError> {
        self.enter_under_user(user, key, keep_until, None).await.map(drop)
    }

    async fn reserve_for_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        self.enter_under_user(user, key, keep_until, Some(max)).await
    }

    async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError> {
        self.remove(redis::cmd("SREM").arg(keys::user(&key.tenant, user)).arg(key.job.as_str())).await
    }

    /// A user has few enough jobs (tenants say how many at most) that the whole set is read and put in order here.
    async fn jobs_of_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let members: Vec<String> = self.servers.read(redis::cmd("SMEMBERS").arg(keys::user(tenant, user))).await?;
        let mut jobs: Vec<JobId> = members.into_iter().filter_map(|member| JobId::parse(member).ok()).collect();
        jobs.sort_unstable();
        Ok(jobs.into_iter().filter(|job| after.is_none_or(|after| job > after)).take(limit).collect())
    }
}

impl RedisStore {
    async fn enter_under_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: Option<usize>,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::at(&scripts::ADD_MEMBER, keys::user(&key.tenant, user));
        call.arg(key.job.as_str()).arg(millis(keep_until)).arg(max.unwrap_or(usize::MAX));
        self.change(&call).await
    }
}

#[async_trait]
impl ShareStore for RedisStore {
    async fn take_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::at(&scripts::TAKE_SHARE, keys::share(tenant, module));
        call.arg(millis(keep_until)).arg(max);
        self.servers.write(Query::Script(&call), Repeat::Once, None).await.map(|sent| sent.answer)
    }

    async fn move_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::MOVE_SHARE, keys::share(tenant, module));
        call.arg(millis(from)).arg(to.map(|to| millis(to).to_string()).unwrap_or_default());
        self.servers.write::<i64>(Query::Script(&call), Repeat::Never, None).await.map(drop)
    }
}
