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

tokenvault_core::store_operations!(hand_on);
