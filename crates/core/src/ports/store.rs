//! The store: records, their due index, and the entries that gather jobs by session and by user.
//!
//! Every change is a compare-and-swap and carries an attempt id: repeated after a lost answer it reports
//! [`Written::AlreadyDone`] and changes nothing. A record, its due entry and its lease live in one shard and change
//! together; session and user entries may live elsewhere and are joined *before* a record is created, so that an entry
//! too many can exist (and is repaired when found) but a record missing from its session cannot.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::causes;
use super::joining::{Join, Joined, SessionLook};
use crate::ids::{
    AttemptId, Fence, Generation, Incarnation, JobId, JobKey, ModuleName, ReplicaId, SessionKey, Shard, StoreEpoch,
    TenantId, UserId,
};
use crate::record::{self, FieldsChange, Record};
use crate::seal::Sealed;
use crate::time::Timestamp;

/// Why the store did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It cannot be reached, or did not answer in time. Whether a write was done is unknown; repeat it with the same
    /// attempt id.
    #[error("the store is unavailable: {}", causes::Written(.0))]
    Unavailable(&'static str),
    /// It holds something this version cannot read.
    #[error("the store holds a record that cannot be read: {0}")]
    Corrupt(String),
    /// Its schema is not one this version knows.
    #[error("the store's schema is {found}; this version knows {known}")]
    Schema {
        /// What was found.
        found: String,
        /// What this binary knows.
        known: u32,
    },
}

impl StoreError {
    /// It is full: it takes nothing that needs more memory.
    pub const FULL: Self = Self::Unavailable("out_of_memory");

    /// The server that answers follows another one: the store is elsewhere.
    pub const ELSEWHERE: Self = Self::Unavailable("read_only");

    /// Whether it answers, and takes no writes.
    pub fn is_refusal_to_write(&self) -> bool {
        let Self::Unavailable(why) = self else { return false };
        matches!(*why, "out_of_memory" | "cannot_persist" | "read_only" | "too_few_replicas" | "no_permission")
    }
}

/// A record as it stands in the store, with the lease on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// The fence of the newest lease.
    pub fence: Fence,
    /// Until when that lease holds; `None` if it was given back.
    pub leased_until: Option<Timestamp>,
}

/// The right to renew one record until a deadline. Not `Clone`: there is one holder.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    /// The record.
    pub key: JobKey,
    /// Its fencing number; a write under an older one is refused.
    pub fence: Fence,
    /// When the lease lapses.
    pub until: Timestamp,
}

/// A request for due records.
#[derive(Debug, Clone)]
pub struct Claim<'a> {
    /// Who asks.
    pub replica: &'a ReplicaId,
    /// Due until when.
    pub now: Timestamp,
    /// How long the leases hold.
    pub lease: Duration,
    /// At most this many.
    pub limit: usize,
}

/// A due record and the lease on it.
#[derive(Debug)]
pub struct Claimed {
    /// The lease.
    pub lease: Lease,
    /// The record as it stood when it was claimed.
    pub record: Record,
    /// When it had been due by its entry in the due index; for a record whose holder vanished, when that lease lapsed.
    pub due_at: Timestamp,
}

/// What must still hold for a write to happen; every part given is compared (an empty state code counts as not given).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guard {
    /// The record's generation.
    pub generation: Generation,
    /// The record's state code.
    pub state: &'static str,
    /// The writer's fence, which must be the newest, whether or not that lease was given back since; `None` for writes
    /// that need no lease.
    pub fence: Option<Fence>,
    /// The fence as it was read, by a writer who has no lease: the record must not have been claimed since.
    pub seen: Option<Fence>,
    /// The intent that must be the one written: for committing the answer to a spend, whoever holds the lease by then.
    pub intent: Option<AttemptId>,
    /// The incarnation the pair must still be of.
    pub incarnation: Option<Incarnation>,
    /// The seal on the terms (or its absence) that must still be there: for whoever changes them.
    pub terms: Option<Option<Sealed>>,
}

/// One change of one record. An ended record is never changed again, whatever the guard says; only
/// [`TokenStore::create`] puts another in its place.
///
/// What becomes of the lease and of the record's entry in the due index, in this order:
///
/// 1. Without `due_at` (a tombstone) the entry goes, and any lease with it.
/// 2. The lease ends when its holder gives it back (`release_lease` with a fence), and when a writer without a fence
///    makes the record `releasing`: that is to be looked at now, and its old holder's [`TokenStore::holds`] must fail
///    before it sends anything more. Without a fence `release_lease` has no further effect: no lease was proven.
/// 3. While a lease stands (given out and not given back, even if its end has passed) the entry stays at the lease's
///    end, so that the record comes up again should the holder vanish. Only the field `due` changes, by the change itself.
/// 4. Otherwise the entry and the field are put at `due_at`. One exception: a write without a fence whose change leaves
///    `due` alone leaves the entry alone too, so that it does not undo a [`TokenStore::hasten`] it had not seen.
#[derive(Debug, Clone)]
pub struct Write<'a> {
    /// The record.
    pub key: &'a JobKey,
    /// Names this attempt.
    pub attempt: AttemptId,
    /// What must still hold.
    pub guard: Guard,
    /// The fields to change.
    pub change: FieldsChange,
    /// The record's due time after the write; its entry in the due index follows as described above.
    pub due_at: Option<Timestamp>,
    /// Whether the writer gives its lease back with this write. While it keeps it, the due entry stays at the lease's end.
    pub release_lease: bool,
}

impl<'a> Write<'a> {
    /// The write that turns `before` into `after`, guarded by what `before` was.
    pub fn between(before: &'a Record, after: &Record, attempt: AttemptId) -> Self {
        Self {
            key: &before.key,
            attempt,
            guard: Guard { generation: before.generation, state: before.state.code(), ..Guard::default() },
            change: record::change(&record::encode(before), &record::encode(after)),
            due_at: after.due_at,
            release_lease: false,
        }
    }

    /// Under a lease: only while it is the newest.
    #[must_use]
    pub fn under(mut self, lease: &Lease) -> Self {
        self.guard.fence = Some(lease.fence);
        self
    }

    /// Beside the lease: only if nobody has claimed the record since it was read.
    #[must_use]
    pub fn unclaimed_since(mut self, read: &Stored) -> Self {
        self.guard.seen = Some(read.fence);
        self
    }

    /// Changes the terms: only if nobody else has since they were read.
    #[must_use]
    pub fn on_terms_of(mut self, before: &Record) -> Self {
        self.guard.terms = Some(before.terms.clone());
        self
    }

    /// Gives the lease back with the write.
    #[must_use]
    pub fn releasing(mut self) -> Self {
        self.release_lease = true;
        self
    }

    /// The answer to a spend: whoever holds the lease by now, as long as the intent is still this one.
    #[must_use]
    pub fn answering(mut self, before: &Record) -> Self {
        self.guard.fence = None;
        self.guard.intent = before.intent.map(|intent| intent.attempt);
        self.guard.incarnation = before.session.as_ref().map(|session| session.incarnation);
        self
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Done now.
    Done,
    /// This attempt had been done before.
    AlreadyDone,
    /// The guard did not hold, or the record has ended; nothing was changed.
    Conflict,
    /// There is no such record.
    Gone,
}

impl Written {
    /// Whether the change is in the store.
    pub fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::AlreadyDone)
    }
}

/// What became of a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The record is there.
    Done,
    /// This attempt had been done before.
    AlreadyDone,
    /// Another record stands under that name.
    Exists(Box<Stored>),
}

/// The entry of a (tenant, sid, client).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEntry {
    /// The life it is in.
    pub incarnation: Incarnation,
    /// The jobs that have, or are about to have, a pair in it.
    pub jobs: Vec<JobId>,
    /// Those of them that are about to, and since when by the store's clock: their exchange may create the client session
    /// anew at any moment.
    pub joining: BTreeMap<JobId, Timestamp>,
}

/// Keeps records. All methods are safe to repeat: the last 16 attempts of a record are remembered, even when another
/// record takes its place.
///
/// Time is always the caller's, so replicas' clocks must agree within a fraction of a lease: they follow
/// [`TokenStore::time`]. The expiry of keys follows the store's own clock directly.
#[async_trait]
pub trait TokenStore: Send + Sync {
    /// Whether the store answers, takes writes, and is one this version can use.
    async fn ready(&self) -> Result<(), StoreError>;

    /// The record, if there is one.
    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError>;

    /// Creates a record, or replaces one that stands at exactly the generation `replaces` and has ended. Fences go on
    /// counting where the replaced record's stopped.
    async fn create(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        attempt: AttemptId,
    ) -> Result<Created, StoreError>;

    /// Changes a record.
    async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError>;

    /// Leases due records of one shard, the longest due first; their due entries move to the end of the lease, which is
    /// how a dead holder's records come up again. A record that cannot be read is leased but left out, so that it blocks
    /// nobody; repeated after a lost answer, what the first claim leased comes up again at that lease's end.
    async fn claim(&self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError>;

    /// Whether a lease is still the newest one on its record, and was neither given back nor ended by a release of the
    /// job. Whether its deadline has passed is for the holder to watch.
    async fn holds(&self, lease: &Lease) -> Result<bool, StoreError>;

    /// Makes a record that has not ended due at an instant, if it is not due sooner, and its pair to be renewed from another
    /// one on: before that it is only looked at. A time of renewal that lies between the two stays. A record that is leased
    /// stays with its holder, whose write may set it a later time; should the holder vanish, the next one finds from when
    /// on the pair is to be renewed.
    async fn hasten(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError>;

    /// As [`hasten`](Self::hasten), and the record notes that a signed logout token of its session was heard at an instant. A lease
    /// is taken back: whoever holds it does not know, and is to send nothing any more.
    async fn announce(
        &self,
        key: &JobKey,
        heard_at: Timestamp,
        due: Timestamp,
        renew: Timestamp,
    ) -> Result<(), StoreError>;

    /// The store's own clock, by which replicas agree on the time.
    async fn time(&self) -> Result<Timestamp, StoreError>;

    /// The unbroken life the store is in.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError>;

    /// How many records of a shard are due at `now`.
    async fn count_due(&self, shard: Shard, now: Timestamp) -> Result<u64, StoreError>;

    /// Enters a job into its session, as joining until this attempt is settled or withdrawn, or [`JOINING`] is over. Its price
    /// does not grow with how many jobs the session has.
    ///
    /// [`JOINING`]: super::JOINING
    async fn join_session(&self, join: &Join<'_>) -> Result<Joined, StoreError>;

    /// Enters a job that asks for nothing in its session; answers with the life it is in. Keeps the entry until
    /// `keep_until` at least.
    async fn enter_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError>;

    /// Notes that a job that joined has come to live in its session: nothing more of that attempt is under way.
    async fn settle_session(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError>;

    /// Takes back what an attempt to join has left, for nothing came of it and nothing of it is under way. Who was in the session
    /// before, or joins it by another attempt, stays in.
    async fn withdraw_session(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError>;

    /// Takes a job out of its session, unless another attempt of it is just joining. The incarnation stays known until the
    /// entry expires.
    async fn leave_session(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError>;

    /// The session's entry, as a whole.
    async fn session(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError>;

    /// What a renewal of `job` must know of its session; `None` where there is no entry. One that is about to exchange holds
    /// the session where somebody else is joining. Its price does not grow with how many jobs the session has.
    async fn look_at_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError>;

    /// Records that the client session `seen` is over: later pairs are of the next incarnation. Does nothing if that is
    /// already known. Answers with the incarnation after it. Where there is no entry any more, one is made and kept for a
    /// week.
    async fn supersede_session(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError>;

    /// Enters a job under its user, kept until `keep_until` at least.
    async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError>;

    /// The same, unless so many jobs are entered under the user already; answers whether the job is in. One that was
    /// entered before stays entered.
    async fn reserve_for_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError>;

    /// Takes a job from its user's list.
    async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError>;

    /// The jobs entered under a user, in order of their ids, after `after`, at most `limit`.
    async fn jobs_of_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError>;

    /// Counts one more record of a module's in a tenant, kept until then, unless there are `max`: what lives and what has ended.
    /// Answers whether it was counted. Counted by the hour.
    async fn take_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError>;

    /// Counts a record that was to be kept until `from` as kept until `to`, or not at all. One that was never counted is not.
    async fn move_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<(), StoreError>;

    /// Enters a child under its parent unless there are `max` already; answers whether it is in. The entry expires with
    /// the parent's record.
    async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError>;

    /// Takes a child from its parent.
    async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError>;
}

/// Gives a macro of the caller's every operation of [`TokenStore`], for a store that hands each on to another one. The types
/// that they name must be in the caller's scope.
#[macro_export]
macro_rules! store_operations {
    ($hand_on:ident) => {
        $hand_on! {
            fn ready() -> ();
            fn load(key: &JobKey) -> Option<Stored>;
            fn create(record: &Record, replaces: Option<Generation>, attempt: AttemptId) -> Created;
            fn write(write: &Write<'_>) -> Written;
            fn claim(shard: Shard, claim: &Claim<'_>) -> Vec<Claimed>;
            fn holds(lease: &Lease) -> bool;
            fn announce(key: &JobKey, heard_at: Timestamp, due: Timestamp, renew: Timestamp) -> ();
            fn hasten(key: &JobKey, due: Timestamp, renew: Timestamp) -> ();
            fn time() -> Timestamp;
            fn epoch() -> StoreEpoch;
            fn count_due(shard: Shard, now: Timestamp) -> u64;
            fn join_session(join: &Join<'_>) -> Joined;
            fn enter_session(session: &SessionKey, job: &JobId, keep_until: Timestamp) -> Incarnation;
            fn settle_session(session: &SessionKey, job: &JobId, attempt: AttemptId) -> ();
            fn withdraw_session(session: &SessionKey, job: &JobId, attempt: AttemptId) -> ();
            fn leave_session(session: &SessionKey, job: &JobId) -> ();
            fn session(session: &SessionKey) -> Option<SessionEntry>;
            fn look_at_session(session: &SessionKey, job: &JobId, exchanges: bool) -> Option<SessionLook>;
            fn supersede_session(session: &SessionKey, seen: Incarnation) -> Incarnation;
            fn add_to_user(user: &UserId, key: &JobKey, keep_until: Timestamp) -> ();
            fn reserve_for_user(user: &UserId, key: &JobKey, keep_until: Timestamp, max: usize) -> bool;
            fn remove_from_user(user: &UserId, key: &JobKey) -> ();
            fn jobs_of_user(tenant: &TenantId, user: &UserId, after: Option<&JobId>, limit: usize) -> Vec<JobId>;
            fn take_share(tenant: &TenantId, module: &ModuleName, keep_until: Timestamp, max: usize) -> bool;
            fn move_share(tenant: &TenantId, module: &ModuleName, from: Timestamp, to: Option<Timestamp>) -> ();
            fn add_child(parent: &JobKey, child: &JobId, max: usize) -> bool;
            fn remove_child(parent: &JobKey, child: &JobId) -> ();
        }
    };
}
