//! A store that does not do what was asked of it: for some operations it is full, or another one.

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

type Choice = dyn Fn(&'static str) -> Result<Arc<MemoryStore>, StoreError> + Send + Sync;

/// Chooses, by an operation's name, the store that carries it out, or why none does.
pub struct Between(Box<Choice>);

impl Between {
    pub fn choosing(
        choose: impl Fn(&'static str) -> Result<Arc<MemoryStore>, StoreError> + Send + Sync + 'static,
    ) -> Arc<dyn TokenStore> {
        Arc::new(Self(Box::new(choose)))
    }
}

macro_rules! hand_on {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl TokenStore for Between {
            $(async fn $name(&self, $($argument: $kind),*) -> Result<$answer, StoreError> {
                (self.0)(stringify!($name))?.$name($($argument),*).await
            })*
        }
    };
}

tokenvault_core::store_operations!(hand_on);
