//! The ports of a [`TokenStore`](crate::ports::TokenStore): each operation under the lock, at one instant.

use async_trait::async_trait;

use super::store::MemoryStore;
use crate::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use crate::ports::{
    Claim, Claimed, Created, JobStore, Join, Joined, Lease, ServerStore, SessionEntry, SessionLook, SessionStore,
    ShareStore, StoreError, Stored, UserStore, Write, Written,
};
use crate::record::{ReadView, Record};
use crate::time::Timestamp;

#[async_trait]
impl ServerStore for MemoryStore {
    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        Ok(self.state().1)
    }

    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        Ok(StoreEpoch(self.epoch_number()))
    }
}

#[async_trait]
impl JobStore for MemoryStore {
    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError> {
        let (mut state, now) = self.state();
        state.records.load(key, now)
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
        let (mut state, now) = self.state();
        state.records.create(record, replaces, attempt, now)
    }

    async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let (mut state, now) = self.state();
        let written = state.records.write(write, now);
        if let (Written::Done, Some(keep_until)) = (written, state.records.kept_until(write.key, now)) {
            state.lists.keep_children(write.key, keep_until);
        }
        Ok(written)
    }

    async fn claim(&self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.records.claim(shard, claim, now))
    }

    async fn claim_each(&self, shards: &[(Shard, usize)], claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let (mut state, now) = self.state();
        let mut claimed = Vec::new();
        for (shard, limit) in shards {
            let claim = Claim { limit: claim.limit.min(*limit), ..claim.clone() };
            claimed.extend(state.records.claim(*shard, &claim, now));
        }
        Ok(claimed)
    }

    async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.records.holds(lease, now))
    }

    async fn make_due(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError> {
        let (mut state, clock) = self.state();
        state.records.make_due(key, (due, renew), clock);
        Ok(())
    }

    async fn announce_logout(
        &self,
        key: &JobKey,
        heard_at: Timestamp,
        due: Timestamp,
        renew: Timestamp,
    ) -> Result<(), StoreError> {
        let (mut state, clock) = self.state();
        state.records.announce_logout(key, heard_at, (due, renew), clock);
        Ok(())
    }

    async fn count_due(&self, shard: Shard, now: Timestamp) -> Result<u64, StoreError> {
        let (state, _) = self.state();
        Ok(state.records.count_due(shard, now))
    }

    async fn due_shards(&self, now: Timestamp) -> Result<Vec<(Shard, usize)>, StoreError> {
        let (state, _) = self.state();
        let count = |shard| usize::try_from(state.records.count_due(shard, now)).unwrap_or(usize::MAX);
        Ok(Shard::all().map(|shard| (shard, count(shard))).filter(|(_, due)| *due > 0).collect())
    }

    async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        let keep_until = state.records.kept_until(parent, now);
        Ok(state.lists.add_child(parent, child, max, keep_until, now))
    }

    async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.lists.remove_child(parent, child, now);
        Ok(())
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn join_session(&self, join: &Join<'_>) -> Result<Joined, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.sessions.join(join, now))
    }

    async fn enter_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.sessions.enter(session, job, keep_until, now))
    }

    async fn finish_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.sessions.finish_join(session, (job, attempt), now);
        Ok(())
    }

    async fn cancel_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.sessions.cancel_join(session, (job, attempt), now);
        Ok(())
    }

    async fn leave_session(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.sessions.leave(session, job, now);
        Ok(())
    }

    async fn session(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.sessions.entry(session, now))
    }

    async fn look_at_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.sessions.look_at(session, job, exchanges, now))
    }

    async fn supersede_session(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.sessions.supersede(session, seen, now))
    }
}

#[async_trait]
impl UserStore for MemoryStore {
    async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.lists.add_to_user(user, key, keep_until, now);
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
        Ok(state.lists.reserve_for_user(user, key, keep_until, max, now))
    }

    async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError> {
        let (mut state, now) = self.state();
        state.lists.remove_from_user(user, key, now);
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
        let jobs = state.lists.jobs_of_user(tenant, user, now);
        Ok(jobs.into_iter().filter(|job| after.is_none_or(|after| job > after)).take(limit).collect())
    }
}

#[async_trait]
impl ShareStore for MemoryStore {
    async fn take_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        let (mut state, now) = self.state();
        Ok(state.lists.take_share((tenant, module), keep_until, max, now))
    }

    async fn move_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.state().0.lists.move_share((tenant, module), from, to);
        Ok(())
    }
}
