//! The entries of client sessions: which jobs have a pair in one, who is on the way into it, and whose turn it is.
//!
//! A registration's exchange may create its client session anew, and a renewal's exchange that arrives after it with an older
//! token would end the user's whole session. So the two exclude each other. Whoever joins leaves a mark of its own attempt,
//! and takes it away when it is done, or refused; one that vanished counts for [`JOINING`]. A renewal that finds marks of
//! others holds the session: newcomers wait until those who were on their way have arrived and the renewals have gone ahead.
//! A hold lapses by itself, and leaves newcomers a gap, so that neither side can keep the other waiting for ever.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;

use super::super::error::StoreError;
use super::layer::{LayeredStore, StoreLayer, store_port};
use crate::ids::{AttemptId, Incarnation, JobId, ModuleName, SessionKey};
use crate::time::Timestamp;

/// How long the exchange of a registration that vanished may still be under way.
pub const JOINING: Duration = Duration::from_secs(30);
/// A renewal that waits holds its session for this long; each of its looks prolongs it while others are joining. What is left of
/// it then is for the renewals to go ahead in.
pub const HOLD: Duration = Duration::from_secs(3);
/// No hold lasts longer in all: by then whoever was joining when it began has arrived, or vanished.
pub const LONGEST_HOLD: Duration = Duration::from_secs(35);
/// So long after a hold newcomers are let in before the next one.
pub const HOLD_GAP: Duration = Duration::from_secs(2);
/// So many registrations join one session at a time.
pub const MOST_JOINING: usize = 64;
/// So many of them are one module's.
pub const MOST_JOINING_OF_ONE: usize = 16;

/// A registration on its way into a client session.
#[derive(Debug, Clone, Copy)]
pub struct Join<'a> {
    /// Which session.
    pub session: &'a SessionKey,
    /// Which job.
    pub job: &'a JobId,
    /// Names the registration: another one of the same job leaves a mark of its own.
    pub attempt: AttemptId,
    /// Whose share of the places it takes.
    pub by: &'a ModuleName,
    /// The session's entry is kept until then at least.
    pub keep_until: Timestamp,
    /// So many jobs may be entered in the session.
    pub most_jobs: usize,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    /// The job is in, and the session is in this life.
    In(Incarnation),
    /// Renewals go first. Nothing was entered; ask again in a moment.
    Held,
    /// As many are joining as may at a time, of all or of this module. Nothing was entered.
    Busy,
    /// As many jobs are entered as may be. Nothing was entered.
    Full,
}

/// What a renewal sees of the session it is about to exchange in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLook {
    /// The life it is in.
    pub incarnation: Incarnation,
    /// Another text whenever somebody has joined since.
    pub joins: String,
    /// Whether another job is joining just now.
    pub joining: bool,
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

store_port! {
    /// Keeps the entries that gather jobs by their client session. All methods are safe to repeat.
    ///
    /// An entry may live in another shard than the records of its jobs. A job joins its session *before* its record is
    /// created: an entry too many can exist (and is repaired when found), a record missing from its session cannot.
    pub trait SessionStore {
        /// Enters a job into its session, as joining until this attempt is finished or cancelled, or [`JOINING`] is over. Its price
        /// does not grow with how many jobs the session has.
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
        async fn finish_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError>;

        /// Takes back what an attempt to join has left, for nothing came of it and nothing of it is under way. Who was in the session
        /// before, or joins it by another attempt, stays in.
        async fn cancel_join(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError>;

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
    }
}
