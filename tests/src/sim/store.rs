//! The store as one process reaches it: the rules of the store in memory behind a network that fails.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use tokenvault_core::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::ports::{
    Claim, Claimed, Clock, Created, JobStore, Join, Joined, Lease, ServerStore, SessionEntry, SessionLook,
    SessionStore, ShareStore, StoreCause, StoreError, Stored, UserStore, Write, Written,
};
use tokenvault_core::record::{ReadView, Record};
use tokenvault_core::time::Timestamp;
use tokio::time::sleep;

use super::process::Process;
use super::weather::{Fault, Side};
use super::world::{LOOK_AT_CLOCK, World};

/// How long a process waits for an answer of the store.
const TIMEOUT_MS: u64 = 1_000;

/// The store, as one process reaches it.
pub struct FaultyStore {
    /// What is behind it.
    pub world: Arc<World>,
    /// Whose it is.
    pub process: Arc<Process>,
    /// Whether it shows nobody who is joining.
    pub hides_joining: bool,
}

/// An operation that can be carried out late, or twice.
struct Call<F> {
    name: &'static str,
    /// Whether it changes anything.
    writes: bool,
    /// The record whose tokens it may bring, and whether it creates that record.
    brings: Option<(JobKey, bool)>,
    /// The session's entry that it is about, and the job that joins it; none joins where it is only looked at.
    entry: Option<(SessionKey, Option<JobId>)>,
    act: F,
}

impl<F> Call<F> {
    fn carry_out<T>(&self, world: &World) -> Result<T, StoreError>
    where
        F: Fn(&MemoryStore) -> Result<T, StoreError>,
    {
        if self.writes {
            world.keep_copy();
        }
        let answer = (self.act)(&world.store);
        if let (Some((key, created)), true) = (&self.brings, answer.is_ok()) {
            world.observe(key, *created);
        }
        if let (Some((session, joins)), true) = (&self.entry, answer.is_ok()) {
            let sid = session.sid.as_str();
            let truth = now(world.store.session(session))?;
            let joined = &mut world.state.lock().joins;
            match joins {
                // It may have been told to wait.
                Some(job) if truth.as_ref().is_some_and(|entry| entry.joining.contains_key(job)) => {
                    joined.join(sid, job, world.now());
                }
                Some(_) => {}
                None => joined.look(sid, truth.as_ref(), world.time.now()),
            }
        }
        answer
    }
}

impl FaultyStore {
    async fn call<T, F>(&self, call: Call<F>) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&MemoryStore) -> Result<T, StoreError> + Send + Sync + 'static,
    {
        self.process.gate().await;
        let name = call.name;
        let strike = self.world.strike(&self.process, Side::Store, name, 0);
        if let Fault::CrashBefore = strike.fault {
            self.world.crash(&self.process);
        }
        self.process.gate().await;
        wait(strike.way_ms).await;
        let answer = self.travel(call, strike.fault).await;
        if let Some(happening) = strike.after {
            self.world.happen(&self.process, happening);
        }
        wait(strike.way_ms).await;
        self.process.gate().await;
        if answer.is_err() {
            self.world.note(Some(&self.process), name, "failed", 0);
        }
        answer
    }

    async fn travel<T, F>(&self, call: Call<F>, fault: Fault) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Fn(&MemoryStore) -> Result<T, StoreError> + Send + Sync + 'static,
    {
        match fault {
            Fault::Refused => return Err(StoreError::Unavailable(StoreCause::Refused)),
            Fault::RequestLost => wait(TIMEOUT_MS).await,
            Fault::AnswerLost => {
                let _ = call.carry_out(&self.world);
                wait(TIMEOUT_MS).await;
            }
            Fault::CrashAfter => {
                let _ = call.carry_out(&self.world);
                self.world.crash(&self.process);
            }
            Fault::Twice => {
                let _ = call.carry_out(&self.world);
                return call.carry_out(&self.world);
            }
            Fault::Late(millis) if millis >= TIMEOUT_MS => {
                let world = Arc::clone(&self.world);
                tokio::spawn(async move {
                    wait(millis).await;
                    let _ = call.carry_out(&world);
                    world.note(None, call.name, "carried-out-late", millis);
                });
                wait(TIMEOUT_MS).await;
            }
            Fault::Late(millis) => {
                wait(millis).await;
                return call.carry_out(&self.world);
            }
            Fault::Slow(millis) => {
                let answer = call.carry_out(&self.world);
                wait(millis).await;
                return answer;
            }
            _ => return call.carry_out(&self.world),
        }
        Err(StoreError::Unavailable(StoreCause::Timeout))
    }
}

async fn wait(millis: u64) {
    if millis > 0 {
        sleep(Duration::from_millis(millis)).await;
    }
}

/// What the store in memory answers: at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().expect("the store in memory answers at once")
}

fn read<F>(name: &'static str, act: F) -> Call<F> {
    Call { name, writes: false, brings: None, entry: None, act }
}

fn change<F>(name: &'static str, act: F) -> Call<F> {
    Call { name, writes: true, brings: None, entry: None, act }
}

#[async_trait]
impl ServerStore for FaultyStore {
    async fn ready(&self) -> Result<(), StoreError> {
        self.call(read("ready", |store: &MemoryStore| now(store.ready()))).await
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        self.call(read(LOOK_AT_CLOCK, |store: &MemoryStore| now(store.time()))).await
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        self.call(read(LOOK_AT_CLOCK, |store: &MemoryStore| now(store.epoch()))).await
    }
}

#[async_trait]
impl JobStore for FaultyStore {
    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError> {
        let key = key.clone();
        self.call(read("load", move |store: &MemoryStore| now(store.load(&key)))).await
    }

    async fn read(&self, key: &JobKey) -> Result<Option<ReadView>, StoreError> {
        let stored = self.load(key).await?;
        Ok(stored.map(|stored| ReadView::of(&stored.record, stored.leased_until)))
    }

    async fn create(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        attempt: AttemptId,
    ) -> Result<Created, StoreError> {
        let record = record.clone();
        let brings = Some((record.key.clone(), true));
        let act = move |store: &MemoryStore| now(store.create(&record, replaces, attempt));
        self.call(Call { name: "create", writes: true, brings, entry: None, act }).await
    }

    async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let key = write.key.clone();
        let (guard, change) = (write.guard.clone(), write.change.clone());
        let (attempt, due_at, release_lease) = (write.attempt, write.due_at, write.release_lease);
        // A declaration brings no token, and says of one that it may be sent.
        let tells = ["gen", "intent"].iter().any(|field| change.set.contains_key(*field));
        let brings = tells.then(|| (key.clone(), false));
        if let Some(reason) = change.set.get("reason") {
            self.world.given_up(&key, reason);
        }
        let act = move |store: &MemoryStore| {
            let (guard, change) = (guard.clone(), change.clone());
            now(store.write(&Write { key: &key, attempt, guard, change, due_at, release_lease }))
        };
        self.call(Call { name: "write", writes: true, brings, entry: None, act }).await
    }

    async fn claim(&self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        // Nothing is due in most shards most of the time; asking there is no fault point.
        if self.process.lives() && now(self.world.store.count_due(shard, claim.now))? == 0 {
            return Ok(Vec::new());
        }
        let (replica, at, lease, limit) = (claim.replica.clone(), claim.now, claim.lease, claim.limit);
        let act =
            move |store: &MemoryStore| now(store.claim(shard, &Claim { replica: &replica, now: at, lease, limit }));
        self.call(change("claim", act)).await
    }

    /// Each shard is a fault point of its own, as its script is.
    async fn claim_each(&self, shards: &[(Shard, usize)], claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let mut claimed = Vec::new();
        for (shard, limit) in shards {
            let claim = Claim { limit: claim.limit.min(*limit), ..claim.clone() };
            match self.claim(*shard, &claim).await {
                Ok(more) => claimed.extend(more),
                Err(error) if claimed.is_empty() => return Err(error),
                Err(_) => break,
            }
        }
        Ok(claimed)
    }

    async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        let lease = Lease { key: lease.key.clone(), fence: lease.fence, until: lease.until };
        self.call(read("holds", move |store: &MemoryStore| now(store.holds(&lease)))).await
    }

    async fn make_due(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError> {
        let key = key.clone();
        self.call(change("hasten", move |store: &MemoryStore| now(store.make_due(&key, due, renew)))).await
    }

    async fn announce_logout(
        &self,
        key: &JobKey,
        heard_at: Timestamp,
        due: Timestamp,
        renew: Timestamp,
    ) -> Result<(), StoreError> {
        let key = key.clone();
        self.call(change("announce", move |store: &MemoryStore| now(store.announce_logout(&key, heard_at, due, renew))))
            .await
    }

    async fn count_due(&self, shard: Shard, at: Timestamp) -> Result<u64, StoreError> {
        self.call(read("count-due", move |store: &MemoryStore| now(store.count_due(shard, at)))).await
    }

    async fn due_shards(&self, at: Timestamp) -> Result<Vec<(Shard, usize)>, StoreError> {
        // Nothing is due most of the time; asking then is no fault point.
        if self.process.lives() && now(self.world.store.due_shards(at))?.is_empty() {
            return Ok(Vec::new());
        }
        self.call(read("due-shards", move |store: &MemoryStore| now(store.due_shards(at)))).await
    }

    async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError> {
        let (parent, child) = (parent.clone(), child.clone());
        self.call(change("add-child", move |store: &MemoryStore| now(store.add_child(&parent, &child, max)))).await
    }

    async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError> {
        let (parent, child) = (parent.clone(), child.clone());
        self.call(change("remove-child", move |store: &MemoryStore| now(store.remove_child(&parent, &child)))).await
    }
}

#[async_trait]
impl SessionStore for FaultyStore {
    async fn join_session(&self, join: &Join<'_>) -> Result<Joined, StoreError> {
        let (session, job, by) = (join.session.clone(), join.job.clone(), join.by.clone());
        let (attempt, keep_until, most_jobs) = (join.attempt, join.keep_until, join.most_jobs);
        let entry = Some((session.clone(), Some(job.clone())));
        let act = move |store: &MemoryStore| {
            let join = Join { session: &session, job: &job, attempt, by: &by, keep_until, most_jobs };
            now(store.join_session(&join))
        };
        self.call(Call { entry, ..change("join-session", act) }).await
    }

    async fn enter_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let (session, job) = (session.clone(), job.clone());
        let act = move |store: &MemoryStore| now(store.enter_session(&session, &job, keep_until));
        self.call(change("enter-session", act)).await
    }

    async fn finish_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let (session, job) = (session.clone(), job.clone());
        let act = move |store: &MemoryStore| now(store.finish_join(&session, &job, attempt));
        self.call(change("settle-session", act)).await
    }

    async fn cancel_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let (session, job) = (session.clone(), job.clone());
        let act = move |store: &MemoryStore| now(store.cancel_join(&session, &job, attempt));
        self.call(change("withdraw-session", act)).await
    }

    async fn leave_session(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        let (session, job) = (session.clone(), job.clone());
        self.call(change("leave-session", move |store: &MemoryStore| now(store.leave_session(&session, &job)))).await
    }

    async fn session(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError> {
        let session = session.clone();
        self.call(read("session", move |store: &MemoryStore| now(store.session(&session)))).await
    }

    async fn look_at_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError> {
        let (session, job, hides_joining) = (session.clone(), job.clone(), self.hides_joining);
        let entry = Some((session.clone(), None));
        let act = move |store: &MemoryStore| {
            let look = now(store.look_at_session(&session, &job, exchanges && !hides_joining))?;
            Ok(look.map(|look| SessionLook { joining: look.joining && !hides_joining, ..look }))
        };
        // It may hold the session.
        self.call(Call { entry, writes: exchanges, ..read("look-at-session", act) }).await
    }

    async fn supersede_session(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError> {
        let session = session.clone();
        let act = move |store: &MemoryStore| now(store.supersede_session(&session, seen));
        self.call(change("supersede-session", act)).await
    }
}

#[async_trait]
impl UserStore for FaultyStore {
    async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError> {
        let (user, key) = (user.clone(), key.clone());
        let act = move |store: &MemoryStore| now(store.add_to_user(&user, &key, keep_until));
        self.call(change("add-to-user", act)).await
    }

    async fn reserve_for_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let (user, key) = (user.clone(), key.clone());
        let act = move |store: &MemoryStore| now(store.reserve_for_user(&user, &key, keep_until, max));
        self.call(change("reserve-for-user", act)).await
    }

    async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError> {
        let (user, key) = (user.clone(), key.clone());
        self.call(change("remove-from-user", move |store: &MemoryStore| now(store.remove_from_user(&user, &key)))).await
    }

    async fn jobs_of_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let (tenant, user, after) = (tenant.clone(), user.clone(), after.cloned());
        let act = move |store: &MemoryStore| now(store.jobs_of_user(&tenant, &user, after.as_ref(), limit));
        self.call(read("jobs-of-user", act)).await
    }
}

#[async_trait]
impl ShareStore for FaultyStore {
    async fn take_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let (tenant, module) = (tenant.clone(), module.clone());
        let act = move |store: &MemoryStore| now(store.take_share(&tenant, &module, keep_until, max));
        self.call(change("take-share", act)).await
    }

    async fn move_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        let (tenant, module) = (tenant.clone(), module.clone());
        let act = move |store: &MemoryStore| now(store.move_share(&tenant, &module, from, to));
        self.call(change("move-share", act)).await
    }
}
