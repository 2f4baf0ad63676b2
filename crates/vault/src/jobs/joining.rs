//! A registration's way into a client session.
//!
//! It joins the session's entry before it exchanges, under an attempt of its own, and takes its mark away when nothing of it is
//! under way any more: settled, where the job came to live there, or withdrawn, where it did not. Only where an exchange may
//! still be at work at Keycloak does the mark stay; it counts for half a minute then. While renewals go first, and while as
//! many are joining as may, a registration waits for its turn here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_core::ids::{AttemptId, JobId, JobKey, ModuleName, SessionId, SessionKey};
use tokenvault_core::ports::{Client, JOINING, Join, Joined, MOST_JOINING, MOST_JOINING_OF_ONE, SessionEntry};
use tokenvault_core::record::SessionRef;
use tokenvault_core::time::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Vault, store_problem};
use crate::problem::{Code, Problem};
use crate::services::lives_in;
use crate::tenants::TenantRules;

/// How long a registration waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two questions whether it is.
const ASK_AGAIN: Duration = Duration::from_millis(100);

type Turns = HashMap<(SessionKey, ModuleName), Arc<Semaphore>>;

/// The registrations of one module into one session at this replica: no more of them ask the store for a place than may have
/// one, and those that wait are served in the order in which they came.
#[derive(Default)]
pub(super) struct JoinGate(Mutex<Turns>);

impl JoinGate {
    async fn enter(&self, session: &SessionKey, by: &ModuleName) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut sessions = self.0.lock();
            sessions.retain(|_, turns| Arc::strong_count(turns) > 1);
            let new = || Arc::new(Semaphore::new(MOST_JOINING_OF_ONE));
            Arc::clone(sessions.entry((session.clone(), by.clone())).or_insert_with(new))
        };
        tokio::time::timeout(PATIENCE, turns.acquire_owned()).await.ok()?.ok()
    }
}

/// Who is on the way into the user's session, and how.
#[derive(Clone, Copy)]
pub(super) struct JoinAttempt<'a> {
    pub(super) key: &'a JobKey,
    /// The module that asks.
    pub(super) by: &'a ModuleName,
    /// Names this attempt to join.
    pub(super) attempt: AttemptId,
    pub(super) rules: &'a TenantRules,
    pub(super) keep_until: Timestamp,
}

/// A job that has joined a session, which holds its turn for as long as this lives.
pub(super) struct Joining {
    pub(super) session: SessionRef,
    _turn: OwnedSemaphorePermit,
}

impl Vault {
    pub(super) async fn join(
        &self,
        way: JoinAttempt<'_>,
        client: &Client,
        sid: &SessionId,
    ) -> Result<Joining, Problem> {
        let (session, clock) = (client.session(sid), &self.services.clock);
        let began = clock.now();
        let turn = self.joins.enter(&session, way.by).await.ok_or_else(busy)?;
        let most_jobs = way.rules.max_jobs_per_user + MOST_JOINING;
        let join = Join {
            session: &session,
            job: &way.key.job,
            attempt: way.attempt,
            by: way.by,
            keep_until: way.keep_until,
            most_jobs,
        };
        let mut tidied = false;
        loop {
            match self.services.store.join_session(&join).await.map_err(store_problem)? {
                Joined::In(incarnation) => {
                    let session = SessionRef { sid: sid.clone(), client: client.id.clone(), incarnation };
                    return Ok(Joining { session, _turn: turn });
                }
                Joined::Full if !tidied => {
                    self.tidy_session(way, &session).await?;
                    tidied = true;
                }
                Joined::Full => {
                    let full = Problem::new(Code::Unsupported, "The user's session has as many jobs as it may have.");
                    return Err(full.with("max_jobs_per_user", way.rules.max_jobs_per_user));
                }
                Joined::Held | Joined::Busy if clock.now().since(began) >= PATIENCE => return Err(busy()),
                Joined::Held | Joined::Busy => tokio::time::sleep(ASK_AGAIN).await,
            }
        }
    }

    /// Takes back what joining a session has left, for nothing came of it. What fails here lapses by itself.
    pub(super) async fn undo_join(&self, way: JoinAttempt<'_>, session: &SessionRef) {
        let client = Client { tenant: way.key.tenant.clone(), id: session.client.clone() };
        let _ = self.services.store.withdraw_session(&client.session(&session.sid), &way.key.job, way.attempt).await;
    }

    /// Takes out what registrations and ends that were cut short have left in a session.
    async fn tidy_session(
        &self,
        JoinAttempt { key, keep_until, .. }: JoinAttempt<'_>,
        session: &SessionKey,
    ) -> Result<(), Problem> {
        if !self.may_look_through(&format!("{}/{}", key.tenant, session.sid)) {
            return Ok(());
        }
        let Some(entry) = self.services.store.session(session).await.map_err(store_problem)? else { return Ok(()) };
        for job in left_over(&entry, self.services.clock.now()) {
            let key = JobKey::new(key.tenant.clone(), job.clone());
            let found = self.services.store.load(&key).await.map_err(store_problem)?;
            if !found.is_some_and(|stored| lives_in(&stored.record, session)) {
                self.services.leave_session(session, &key, keep_until).await.map_err(store_problem)?;
            }
        }
        Ok(())
    }
}

/// The jobs of a session that are not joining it; one whose registration vanished is not any more.
fn left_over(entry: &SessionEntry, now: Timestamp) -> impl Iterator<Item = &JobId> {
    let joins = move |job: &JobId| entry.joining.get(job).is_some_and(|since| *since + JOINING > now);
    entry.jobs.iter().filter(move |job| !joins(job))
}

fn busy() -> Problem {
    let detail = "Many registrations join this session of the user's just now, or the renewals of its jobs go first.";
    Problem::new(Code::TooManyRequests, detail).with("reason", "session_busy").retry_after(Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokenvault_core::ids::Incarnation;

    use super::*;

    #[test]
    fn a_registration_that_vanished_is_left_over() {
        let [lives, joins, vanished] = ["lives", "joins", "vanished"].map(|name| JobId::parse(name).expect("a job"));
        let now = Timestamp::from_secs(1_000);
        let since = now - JOINING;
        let joining = BTreeMap::from([(joins.clone(), since + Duration::from_millis(1)), (vanished.clone(), since)]);
        let jobs = vec![joins, lives.clone(), vanished.clone()];
        let entry = SessionEntry { incarnation: Incarnation(0), jobs, joining };
        assert_eq!(left_over(&entry, now).collect::<Vec<_>>(), [&lives, &vanished]);
    }
}
