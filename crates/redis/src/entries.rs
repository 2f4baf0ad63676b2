//! The entries that gather jobs: by session, by user, by parent.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::Cmd;
use tokenvault_core::ids::{AttemptId, Incarnation, JobId, JobKey, ModuleName, SessionKey, TenantId, UserId};
use tokenvault_core::ports::{
    HOLD, HOLD_GAP, JOINING, Join, Joined, LONGEST_HOLD, MOST_JOINING, MOST_JOINING_OF_ONE, SessionEntry, SessionLook,
    StoreError,
};
use tokenvault_core::time::Timestamp;

use crate::error::report;
use crate::link::{Call, Repeat};
use crate::records::millis;
use crate::store::RedisStore;
use crate::{keys, scripts};

/// How long an entry is kept whose jobs are not known: longer than a session of Keycloak's is usually allowed to live.
const ORPHAN_KEEP: Duration = Duration::from_hours(7 * 24);

fn orphan_keep() -> u64 {
    span(ORPHAN_KEEP)
}

fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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
    pub(crate) async fn join(&self, join: &Join<'_>) -> Result<Joined, StoreError> {
        let mut call = scripts::JOIN_SESSION.key(keys::session(join.session));
        call.key(keys::joining(join.session))
            .arg(keys::session_field(join.job))
            .arg(millis(join.keep_until))
            .arg(join.job.as_str())
            .arg(join.attempt.to_string())
            .arg(join.by.as_str())
            .arg(span(JOINING))
            .arg(MOST_JOINING)
            .arg(MOST_JOINING_OF_ONE)
            .arg(join.most_jobs);
        let (verdict, incarnation): (String, Option<u64>) = match self.change::<Vec<String>>(&call).await?.as_slice() {
            [verdict] => (verdict.clone(), None),
            [verdict, incarnation] => (verdict.clone(), incarnation.parse().ok()),
            _ => return Err(report("protocol")),
        };
        match (verdict.as_str(), incarnation) {
            ("in", Some(incarnation)) => Ok(Joined::In(Incarnation(incarnation))),
            ("in", None) => Err(corrupt()),
            ("held", _) => Ok(Joined::Held),
            ("busy", _) => Ok(Joined::Busy),
            ("full", _) => Ok(Joined::Full),
            _ => Err(report("protocol")),
        }
    }

    pub(crate) async fn enter(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let mut call = scripts::ENTER_SESSION.key(keys::session(session));
        call.arg(keys::session_field(job)).arg(millis(keep_until));
        self.change(&call).await.map(Incarnation)
    }

    pub(crate) async fn settle(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let mut call = scripts::SETTLE_SESSION.key(keys::session(session));
        call.key(keys::joining(session))
            .arg(keys::session_field(job))
            .arg(job.as_str())
            .arg(attempt.to_string())
            .arg(span(JOINING));
        self.change::<i64>(&call).await.map(drop)
    }

    pub(crate) async fn withdraw(
        &self,
        session: &SessionKey,
        job: &JobId,
        attempt: AttemptId,
    ) -> Result<(), StoreError> {
        let mut call = scripts::WITHDRAW_SESSION.key(keys::session(session));
        call.key(keys::joining(session))
            .arg(keys::session_field(job))
            .arg(job.as_str())
            .arg(attempt.to_string())
            .arg(span(JOINING));
        self.writes.call::<i64>(Call::Script(&call), Repeat::Once, None).await.map(drop)
    }

    pub(crate) async fn leave(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        let mut call = scripts::LEAVE_SESSION.key(keys::session(session));
        call.key(keys::joining(session)).arg(keys::session_field(job)).arg(job.as_str());
        self.writes.call::<i64>(Call::Script(&call), Repeat::Once, None).await.map(drop)
    }

    /// A look of one that does not hold the session changes nothing, but is a script all the same: what it compares must be
    /// of one moment.
    pub(crate) async fn look_at(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError> {
        let mut call = scripts::LOOK_AT_SESSION.key(keys::session(session));
        call.key(keys::joining(session))
            .arg(keys::session_field(job))
            .arg(job.as_str())
            .arg(span(JOINING))
            .arg(u8::from(exchanges))
            .arg(span(HOLD))
            .arg(span(LONGEST_HOLD))
            .arg(span(HOLD_GAP))
            .arg(u8::from(self.older_replicas.load(Ordering::Relaxed)));
        let answer = self.writes.call::<Vec<String>>(Call::Script(&call), Repeat::Once, None).await?.answer;
        match answer.as_slice() {
            [] => Ok(None),
            [incarnation, joins, joining] => Ok(Some(SessionLook {
                incarnation: incarnation.parse().map(Incarnation).map_err(|_| corrupt())?,
                joins: joins.clone(),
                joining: joining == "1",
            })),
            _ => Err(report("protocol")),
        }
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

    pub(crate) async fn take_of_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        (keep_until, max): (Timestamp, usize),
    ) -> Result<bool, StoreError> {
        let mut call = scripts::TAKE_SHARE.key(keys::share(tenant, module));
        call.arg(millis(keep_until)).arg(max);
        self.writes.call(Call::Script(&call), Repeat::Once, None).await.map(|sent| sent.answer)
    }

    pub(crate) async fn move_in_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        (from, to): (Timestamp, Option<Timestamp>),
    ) -> Result<(), StoreError> {
        let mut call = scripts::MOVE_SHARE.key(keys::share(tenant, module));
        call.arg(millis(from)).arg(to.map(|to| millis(to).to_string()).unwrap_or_default());
        self.writes.call::<i64>(Call::Script(&call), Repeat::Never, None).await.map(drop)
    }

    async fn remove(&self, command: &Cmd) -> Result<(), StoreError> {
        self.writes.call::<i64>(Call::Command(command), Repeat::Once, None).await.map(drop)
    }
}
