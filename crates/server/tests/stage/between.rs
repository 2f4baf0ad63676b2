//! A store that does not do what was asked of it: for some operations it is full, or another one.

use std::sync::Arc;

use tokenvault_core::memory::MemoryStore;
use tokenvault_core::ports::{LayeredStore, StoreError, StoreLayer, TokenStore};

type Choice = dyn Fn(&'static str) -> Result<Arc<MemoryStore>, StoreError> + Send + Sync;

/// Chooses, by an operation's name, the store that carries it out, or why none does.
pub struct Between(Box<Choice>);

impl Between {
    pub fn choosing(
        choose: impl Fn(&'static str) -> Result<Arc<MemoryStore>, StoreError> + Send + Sync + 'static,
    ) -> Arc<dyn TokenStore> {
        Arc::new(LayeredStore(Self(Box::new(choose))))
    }
}

impl StoreLayer for Between {
    fn store(&self, operation: &'static str) -> Result<Arc<dyn TokenStore>, StoreError> {
        Ok((self.0)(operation)?)
    }

    async fn carry_out<T: Send>(
        &self,
        _operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        answer.await
    }
}
