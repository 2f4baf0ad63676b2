//! Which replicas are alive, and what each says of itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::StoreError;
use crate::ids::ReplicaId;
use crate::time::Timestamp;

/// What a replica tells about itself every few seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaStatus {
    /// Its name.
    pub id: ReplicaId,
    /// The version it runs.
    pub version: String,
    /// The newest schema it knows.
    pub schema: u32,
    /// When it started.
    pub started_at: Timestamp,
    /// When it told this; set by the store.
    pub seen_at: Timestamp,
    /// The id of the key it seals with.
    pub primary: String,
    /// The ids of the keys it uses, each with what tells it from another key of the same id
    /// ([`Keyring::check`](crate::seal::Keyring::check)).
    pub keys: BTreeMap<String, String>,
    /// The ids of keys in its file that are not the ones of those ids; it uses none of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub wrong: BTreeSet<String>,
    /// Renewals it has in hand.
    pub renewing: u32,
    /// How far its time is ahead of the store's clock, which it approaches ([`Clock`](crate::ports::Clock)).
    #[serde(default)]
    pub clock_ahead_ms: i64,
}

/// Lets replicas know of each other. All methods are safe to repeat.
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// Tells what this replica is; forgotten after `keep` unless told again.
    async fn announce(&self, status: &ReplicaStatus, keep: Duration) -> Result<(), StoreError>;

    /// Forgets a replica that stops.
    async fn depart(&self, replica: &ReplicaId) -> Result<(), StoreError>;

    /// The live replicas, by name.
    async fn replicas(&self) -> Result<Vec<ReplicaStatus>, StoreError>;
}
