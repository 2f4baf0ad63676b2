//! The entries that gather jobs: by session, by user, by parent.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Cmd;
use tokenvault_core::ids::{Incarnation, JobId, JobKey, SessionKey, TenantId, UserId};
use tokenvault_core::ports::{SessionEntry, StoreError};
use tokenvault_core::time::Timestamp;

use crate::link::{Call, Repeat};
use crate::records::millis;
use crate::store::RedisStore;
use crate::{keys, scripts};

/// How long an entry is kept whose jobs are not known: longer than a session of Keycloak's is usually allowed to live.
const ORPHAN_KEEP: Duration = Duration::from_hours(7 * 24);

fn orphan_keep() -> u64 {
    u64::try_from(ORPHAN_KEEP.as_millis()).unwrap_or(u64::MAX)
}

fn entry(fields: &BTreeMap<String, String>) -> Option<SessionEntry> {
    let incarnation = fields.get(keys::INCARNATION)?.parse().ok()?;
    let jobs = || fields.iter().filter_map(|(field, since)| Some((keys::job_of_field(field)?, since)));
    let joining = jobs().filter_map(|(job, since)| Some((job, Timestamp::from_millis(since.parse().ok()?)))).collect();
    let jobs = jobs().map(|(job, _)| job).collect();
    Some(SessionEntry { incarnation: Incarnation(incarnation), jobs, joining })
}

fn corrupt() -> StoreError {
    StoreError::Corrupt("a session's entry has no incarnation".to_owned())
}

impl RedisStore {
    pub(crate) async fn join(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<SessionEntry, StoreError> {
        let mut call = scripts::JOIN_SESSION.key(keys::session(session));
        call.arg(keys::session_field(job)).arg(millis(keep_until));
        let fields = self.change(&call).await?;
        entry(&fields).ok_or_else(corrupt)
    }

    pub(crate) async fn settle(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        let mut call = scripts::SETTLE_SESSION.key(keys::session(session));
        call.arg(keys::session_field(job));
        self.change::<i64>(&call).await.map(drop)
    }

    pub(crate) async fn leave(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        self.remove(redis::cmd("HDEL").arg(keys::session(session)).arg(keys::session_field(job))).await
    }

    pub(crate) async fn session_entry(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError> {
        let fields: BTreeMap<String, String> =
            self.reads.call(redis::cmd("HGETALL").arg(keys::session(session))).await?;
        if fields.is_empty() { Ok(None) } else { entry(&fields).map(Some).ok_or_else(corrupt) }
    }

    pub(crate) async fn supersede(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError> {
        let mut call = scripts::SUPERSEDE_SESSION.key(keys::session(session));
        call.arg(seen.0).arg(orphan_keep());
        self.change(&call).await.map(Incarnation)
    }

    pub(crate) async fn enter_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let mut call = scripts::ADD_MEMBER.key(keys::user(&key.tenant, user));
        call.arg(key.job.as_str()).arg(millis(keep_until)).arg(max);
        self.change(&call).await
    }

    pub(crate) async fn leave_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError> {
        self.remove(redis::cmd("SREM").arg(keys::user(&key.tenant, user)).arg(key.job.as_str())).await
    }

    /// A user has few enough jobs (tenants say how many at most) that the whole set is read and put in order here.
    pub(crate) async fn user_jobs(&self, tenant: &TenantId, user: &UserId) -> Result<Vec<JobId>, StoreError> {
        let members: Vec<String> = self.reads.call(redis::cmd("SMEMBERS").arg(keys::user(tenant, user))).await?;
        let mut jobs: Vec<JobId> = members.into_iter().filter_map(|member| JobId::parse(member).ok()).collect();
        jobs.sort_unstable();
        Ok(jobs)
    }

    pub(crate) async fn enter_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError> {
        let mut call = scripts::ADD_CHILD.key(keys::children(parent));
        call.key(keys::job(parent)).arg(child.as_str()).arg(max).arg(orphan_keep());
        self.change(&call).await
    }

    pub(crate) async fn leave_parent(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError> {
        self.remove(redis::cmd("SREM").arg(keys::children(parent)).arg(child.as_str())).await
    }

    async fn remove(&self, command: &Cmd) -> Result<(), StoreError> {
        self.writes.call::<i64>(Call::Command(command), Repeat::Once, None).await.map(drop)
    }
}
