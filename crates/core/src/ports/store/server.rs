//! The server behind the store: whether it can be used, its clock, and its life.

use async_trait::async_trait;

use super::super::error::StoreError;
use super::layer::{LayeredStore, StoreLayer, store_port};
use crate::ids::StoreEpoch;
use crate::time::Timestamp;

store_port! {
    /// Tells about the server that keeps everything.
    pub trait ServerStore {
        /// Whether the store answers, takes writes, and is one this version can use.
        async fn ready(&self) -> Result<(), StoreError>;

        /// The store's own clock, by which replicas agree on the time.
        async fn time(&self) -> Result<Timestamp, StoreError>;

        /// The unbroken life the store is in.
        async fn epoch(&self) -> Result<StoreEpoch, StoreError>;
    }
}
