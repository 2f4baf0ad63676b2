//! A store in memory that keeps the same contract as the one on Redis: for tests, for simulations and for the demo.
//!
//! It keeps records as the same flat fields, so that a change reaches it exactly as it would reach Redis. The clock
//! decides only when keys expire, as Redis's own does; what is due and how long a lease holds is said by the caller. It
//! must never be the store of a deployment: it forgets everything with its process, and is one replica's alone.

mod due;
mod entries;
mod fleet;
mod records;
mod sessions;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use crate::ports::{
    Claim, Claimed, Clock, Created, Join, Joined, Lease, SessionEntry, SessionLook, StoreError, Stored, TokenStore,
    Write, Written,
};
use crate::record::Record;
use crate::time::Timestamp;
use entries::Entries;
use fleet::FleetState;
use records::Records;

/// Everything a store held at one instant, to be put back: what a restart from an old copy does to Redis.
#[derive(Clone)]
pub struct Snapshot(State);

/// Keeps records in memory.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    epoch: AtomicU64,
}

#[derive(Clone, Default)]
struct State {
    records: Records,
    entries: Entries,
    fleet: FleetState,
}

impl MemoryStore {
    /// An empty store; the clock tells when keys expire.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default(), epoch: AtomicU64::new(1) }
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot(self.state().0.clone())
    }

    /// Forgets everything since a snapshot was taken.
    pub fn restore(&self, snapshot: Snapshot) {
        *self.state().0 = snapshot.0;
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    fn epoch_number(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// The state and the time. A panic under the lock leaves whole entries behind, so a poisoned lock is still good.
    fn state(&self) -> (MutexGuard<'_, State>, Timestamp) {
        (self.state.lock().unwrap_or_else(PoisonError::into_inner), self.clock.now())
    }
}

#[async_trait]
impl TokenStore for MemoryStore {
    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError> {
        let (mut state, now) = self.state();
        state.records.load(key, now)
    }

    async fn create(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        attempt: AttemptId,
    ) -> Result<Created, StoreError> {
        let (mut state, now) = self.state();
        state.records.create(record, replaces, attempt, now)
    }

    async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let (mut state, now) = self.state();
        let written = state.records.write(write, now);
        if let (Written::Done, Some(keep_until)) = (written, state.records.kept_until(write.key, now)) {
            state.entries.keep_children(write.key, keep_until);
        }
        Ok(written)
    }

    async fn claim(&self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.records.claim(shard, claim, now))
    }

    async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.records.holds(lease, now))
    }

    async fn announce(
        &self,
        key: &JobKey,
        heard_at: Timestamp,
        due: Timestamp,
        renew: Timestamp,
    ) -> Result<(), StoreError> {
        let (mut state, clock) = self.state();
        state.records.announce(key, heard_at, (due, renew), clock);
        Ok(())
    }

    async fn hasten(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError> {
        let (mut state, clock) = self.state();
        state.records.hasten(key, (due, renew), clock);
        Ok(())
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        Ok(self.state().1)
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        Ok(StoreEpoch(self.epoch_number()))
    }

    async fn count_due(&self, shard: Shard, now: Timestamp) -> Result<u64, StoreError> {
        let (state, _) = self.state();
        Ok(state.records.count_due(shard, now))
    }

    async fn join_session(&self, join: &Join<'_>) -> Result<Joined, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.join_session(join, now))
    }

    async fn enter_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.enter_session(session, job, keep_until, now))
    }

    async fn settle_session(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.entries.settle_session(session, (job, attempt), now);
        Ok(())
    }

    async fn withdraw_session(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.entries.withdraw_session(session, (job, attempt), now);
        Ok(())
    }

    async fn leave_session(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.entries.leave_session(session, job, now);
        Ok(())
    }

    async fn session(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.session(session, now))
    }

    async fn look_at_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.look_at_session(session, job, exchanges, now))
    }

    async fn supersede_session(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.supersede_session(session, seen, now))
    }

    async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.entries.add_to_user(user, key, keep_until, now);
        Ok(())
    }

    async fn reserve_for_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.reserve_for_user(user, key, keep_until, max, now))
    }

    async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.entries.remove_from_user(user, key, now);
        Ok(())
    }

    async fn jobs_of_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let (mut state, now) = self.state();
        let jobs = state.entries.jobs_of_user(tenant, user, now);
        Ok(jobs.into_iter().filter(|job| after.is_none_or(|after| job > after)).take(limit).collect())
    }

    async fn take_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.entries.take_share((tenant, module), keep_until, max, now))
    }

    async fn move_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.state().0.entries.move_share((tenant, module), from, to);
        Ok(())
    }

    async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        let keep_until = state.records.kept_until(parent, now);
        Ok(state.entries.add_child(parent, child, max, keep_until, now))
    }

    async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.entries.remove_child(parent, child, now);
        Ok(())
    }
}
