//! The entries that gather jobs by their client session.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokenvault_core::ids::{AttemptId, Incarnation, JobId, SessionKey};
use tokenvault_core::ports::{
    HOLD, HOLD_GAP, JOINING, Join, Joined, LONGEST_HOLD, MOST_JOINING, MOST_JOINING_OF_ONE, SessionEntry, SessionLook,
    SessionStore, StoreCause, StoreError,
};
use tokenvault_core::time::Timestamp;

use crate::error::unavailable;
use crate::link::{Query, Repeat};
use crate::store::RedisStore;
use crate::units::{ORPHAN_KEEP, millis, span};
use crate::{keys, scripts};

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

#[async_trait]
impl SessionStore for RedisStore {
    async fn join_session(&self, join: &Join<'_>) -> Result<Joined, StoreError> {
        let mut call = scripts::at(&scripts::JOIN_SESSION, keys::session(join.session));
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
            _ => return Err(unavailable(StoreCause::Protocol)),
        };
        match (verdict.as_str(), incarnation) {
            ("in", Some(incarnation)) => Ok(Joined::In(Incarnation(incarnation))),
            ("in", None) => Err(corrupt()),
            ("held", _) => Ok(Joined::Held),
            ("busy", _) => Ok(Joined::Busy),
            ("full", _) => Ok(Joined::Full),
            _ => Err(unavailable(StoreCause::Protocol)),
        }
    }

    async fn enter_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let mut call = scripts::at(&scripts::ENTER_SESSION, keys::session(session));
        call.arg(keys::session_field(job)).arg(millis(keep_until));
        self.change(&call).await.map(Incarnation)
    }

    async fn finish_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::FINISH_JOIN, keys::session(session));
        call.key(keys::joining(session))
            .arg(keys::session_field(job))
            .arg(job.as_str())
            .arg(attempt.to_string())
            .arg(span(JOINING));
        self.change::<i64>(&call).await.map(drop)
    }

    async fn cancel_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::CANCEL_JOIN, keys::session(session));
        call.key(keys::joining(session))
            .arg(keys::session_field(job))
            .arg(job.as_str())
            .arg(attempt.to_string())
            .arg(span(JOINING));
        self.servers.write::<i64>(Query::Script(&call), Repeat::Once, None).await.map(drop)
    }

    async fn leave_session(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        let mut call = scripts::at(&scripts::LEAVE_SESSION, keys::session(session));
        call.key(keys::joining(session)).arg(keys::session_field(job)).arg(job.as_str());
        self.servers.write::<i64>(Query::Script(&call), Repeat::Once, None).await.map(drop)
    }

    async fn session(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError> {
        let fields: BTreeMap<String, String> =
            self.servers.read(redis::cmd("HGETALL").arg(keys::session(session))).await?;
        if fields.is_empty() { Ok(None) } else { entry(&fields).map(Some).ok_or_else(corrupt) }
    }

    /// A look of one that does not hold the session changes nothing, but is a script all the same: what it compares must be
    /// of one moment.
    async fn look_at_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError> {
        let mut call = scripts::at(&scripts::LOOK_AT_SESSION, keys::session(session));
        call.key(keys::joining(session))
            .arg(keys::session_field(job))
            .arg(job.as_str())
            .arg(span(JOINING))
            .arg(u8::from(exchanges))
            .arg(span(HOLD))
            .arg(span(LONGEST_HOLD))
            .arg(span(HOLD_GAP))
            .arg(u8::from(self.older_replicas.load(Ordering::Relaxed)));
        let answer = self.servers.write::<Vec<String>>(Query::Script(&call), Repeat::Once, None).await?.answer;
        match answer.as_slice() {
            [] => Ok(None),
            [incarnation, joins, joining] => Ok(Some(SessionLook {
                incarnation: incarnation.parse().map(Incarnation).map_err(|_| corrupt())?,
                joins: joins.clone(),
                joining: joining == "1",
            })),
            _ => Err(unavailable(StoreCause::Protocol)),
        }
    }

    async fn supersede_session(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError> {
        let mut call = scripts::at(&scripts::SUPERSEDE_SESSION, keys::session(session));
        call.arg(seen.0).arg(span(ORPHAN_KEEP));
        self.change(&call).await.map(Incarnation)
    }
}
