//! A store that is full for one of its operations.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::ports::{
    Claim, Claimed, Created, Join, Joined, Lease, SessionEntry, SessionLook, StoreError, Stored, TokenStore, Write,
    Written,
};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

pub(super) struct Refusing {
    pub(super) store: Arc<MemoryStore>,
    /// The operation that is refused.
    pub(super) refused: &'static str,
}

macro_rules! hand_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl TokenStore for Refusing {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                if self.refused == stringify!($name) {
                    return Err(StoreError::FULL);
                }
                self.store.$name($($argument),*).await
            })*
        }
    };
}

hand_on! {
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
