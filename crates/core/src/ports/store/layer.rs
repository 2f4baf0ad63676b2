//! Something between the vault and its store that sees every operation and changes none: the measurement of time in
//! production, a store that fails in a test.
//!
//! A port's signatures stand in one place: [`store_port!`] makes the trait of them, and hands each operation of a
//! [`LayeredStore`] on.

use std::sync::Arc;

use super::super::error::StoreError;
use super::TokenStore;

/// What stands around each operation of a store.
pub trait StoreLayer: Send + Sync {
    /// The store that carries an operation out, or why none does.
    fn store(&self, operation: &'static str) -> Result<Arc<dyn TokenStore>, StoreError>;

    /// Waits for the answer. Nothing of the operation happens before it is waited for.
    fn carry_out<T: Send>(
        &self,
        operation: &'static str,
        answer: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;
}

/// A store behind a layer.
pub struct LayeredStore<L>(pub L);

/// What metrics and traces call an operation. Dashboards know these by the names they had first.
pub(super) fn operation(method: &'static str) -> &'static str {
    match method {
        "claim_each" => "claim",
        "due_shards" => "count_due",
        "make_due" => "hasten",
        "announce_logout" => "announce",
        "finish_join" => "settle_session",
        "cancel_join" => "withdraw_session",
        method => method,
    }
}

/// Makes a port of its operations, and implements it for a [`LayeredStore`].
macro_rules! store_port {
    (
        $(#[$about:meta])*
        pub trait $port:ident {
            $(
                $(#[$says:meta])*
                async fn $method:ident(&self $(, $argument:ident: $kind:ty)* $(,)?) -> Result<$answer:ty, StoreError>;
            )*
        }
    ) => {
        $(#[$about])*
        #[async_trait]
        pub trait $port: Send + Sync {
            $(
                $(#[$says])*
                async fn $method(&self $(, $argument: $kind)*) -> Result<$answer, StoreError>;
            )*
        }

        #[async_trait]
        impl<L: StoreLayer> $port for LayeredStore<L> {
            $(
                async fn $method(&self $(, $argument: $kind)*) -> Result<$answer, StoreError> {
                    let operation = super::layer::operation(stringify!($method));
                    let store = self.0.store(operation)?;
                    self.0.carry_out(operation, store.$method($($argument),*)).await
                }
            )*
        }
    };
}

pub(super) use store_port;
