//! The records of jobs: how one is read, created, changed, leased and made due.
//!
//! Every change is a compare-and-swap and carries an attempt id: repeated after a lost answer it reports
//! [`Written::AlreadyDone`] and changes nothing. A record, its due entry and its lease live in one shard and change together.

use std::time::Duration;

use async_trait::async_trait;

use super::super::error::StoreError;
use super::layer::{LayeredStore, StoreLayer, store_port};
use crate::ids::{AttemptId, Fence, Generation, Incarnation, JobId, JobKey, ReplicaId, Shard};
use crate::record::{self, FieldsChange, ReadView, Record};
use crate::seal::Sealed;
use crate::time::Timestamp;

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

/// What must still hold for a write to happen. The generation and every part that is given are compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteGuard {
    /// The record's generation.
    pub generation: Generation,
    /// The record's state, by its code.
    pub state: Option<&'static str>,
    /// The writer's fence, which must be the newest, whether or not that lease was given back since; `None` for writes
    /// that need no lease.
    pub fence: Option<Fence>,
    /// The fence as it was read, by a writer who has no lease: the record must not have been claimed since.
    pub seen: Option<Fence>,
    /// The intent that must be the one written: for committing the answer to a spend, whoever holds the lease by then.
    pub intent: Option<AttemptId>,
    /// The incarnation the pair must still be of.
    pub incarnation: Option<Incarnation>,
    /// The seal on the terms: for a writer who changes them.
    pub terms: Option<TermsGuard>,
}

/// What must still be the seal on a record's terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TermsGuard {
    /// There must be none.
    Unsealed,
    /// There must be this one.
    Sealed(Sealed),
}

impl TermsGuard {
    /// The seal that must be there.
    pub fn sealed(&self) -> Option<&Sealed> {
        match self {
            Self::Unsealed => None,
            Self::Sealed(sealed) => Some(sealed),
        }
    }
}

/// One change of one record. An ended record is never changed again, whatever the guard says; only
/// [`JobStore::create`] puts another in its place.
///
/// What becomes of the lease and of the record's entry in the due index, in this order:
///
/// 1. Without `due_at` (a tombstone) the entry goes, and any lease with it.
/// 2. The lease ends when its holder gives it back (`release_lease` with a fence), and when a writer without a fence
///    makes the record `releasing`: that is to be looked at now, and its old holder's [`JobStore::holds`] must fail
///    before it sends anything more. Without a fence `release_lease` has no further effect: no lease was proven.
/// 3. While a lease stands (given out and not given back, even if its end has passed) the entry stays at the lease's
///    end, so that the record comes up again should the holder vanish. Only the field `due` changes, by the change itself.
/// 4. Otherwise the entry and the field are put at `due_at`. One exception: a write without a fence whose change leaves
///    `due` alone leaves the entry alone too, so that it does not undo a [`JobStore::make_due`] it had not seen.
#[derive(Debug, Clone)]
pub struct Write<'a> {
    /// The record.
    pub key: &'a JobKey,
    /// Names this attempt.
    pub attempt: AttemptId,
    /// What must still hold.
    pub guard: WriteGuard,
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
            guard: WriteGuard {
                generation: before.generation,
                state: Some(before.state.code()),
                ..WriteGuard::default()
            },
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
        self.guard.terms = Some(before.terms.clone().map_or(TermsGuard::Unsealed, TermsGuard::Sealed));
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

store_port! {
    /// Keeps the records of jobs. All methods are safe to repeat: the last 16 attempts of a record are remembered, even when
    /// another record takes its place.
    ///
    /// Time is always the caller's, so replicas' clocks must agree within a fraction of a lease: they follow
    /// [`ServerStore::time`](super::ServerStore::time). The expiry of keys follows the store's own clock directly.
    pub trait JobStore {
        /// The record, if there is one.
        async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError>;

        /// What a read decides on, and the access token; as [`load`](Self::load), but without what only a renewal needs.
        async fn read(&self, key: &JobKey) -> Result<Option<ReadView>, StoreError>;

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

        /// Claims in several shards in one go: in each at most as many as stand beside it, and [`Claim::limit`] in none more.
        /// Fails only where nothing was claimed; a shard that could not be asked is asked again with the next claim.
        async fn claim_each(
            &self,
            shards: &[(Shard, usize)],
            claim: &Claim<'_>,
        ) -> Result<Vec<Claimed>, StoreError>;

        /// Whether a lease is still the newest one on its record, and was neither given back nor ended by a release of the
        /// job. Whether its deadline has passed is for the holder to watch.
        async fn holds(&self, lease: &Lease) -> Result<bool, StoreError>;

        /// Makes a record that has not ended due at an instant, if it is not due sooner, and its pair to be renewed from another
        /// one on: before that it is only looked at. A time of renewal that lies between the two stays. A record that is leased
        /// stays with its holder, whose write may set it a later time; should the holder vanish, the next one finds from when
        /// on the pair is to be renewed.
        async fn make_due(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError>;

        /// As [`make_due`](Self::make_due), and the record notes that a signed logout token of its session was heard at an instant. A lease
        /// is taken back: whoever holds it does not know, and is to send nothing any more.
        async fn announce_logout(
            &self,
            key: &JobKey,
            heard_at: Timestamp,
            due: Timestamp,
            renew: Timestamp,
        ) -> Result<(), StoreError>;

        /// How many records of a shard are due at `now`.
        async fn count_due(&self, shard: Shard, now: Timestamp) -> Result<u64, StoreError>;

        /// The shards in which something is due at `now`, and how much. One question for all of them; its price does not grow
        /// with what is stored.
        async fn due_shards(&self, now: Timestamp) -> Result<Vec<(Shard, usize)>, StoreError>;

        /// Enters a child under its parent unless there are `max` already; answers whether it is in. The entry expires with
        /// the parent's record.
        async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError>;

        /// Takes a child from its parent.
        async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError>;
    }
}
