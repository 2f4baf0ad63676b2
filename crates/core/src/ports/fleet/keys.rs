//! Which key seals, and which key is the one of its id. A key is known by its id, and told from another of that id by a check
//! value.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::super::error::StoreError;
use crate::ids::ReplicaId;

/// What became of a promotion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Promoted {
    /// The key seals from now on.
    Done,
    /// It was the primary already.
    Already,
    /// These live replicas do not hold the key. None are named where no replica is alive.
    Missing(Vec<ReplicaId>),
    /// All of these, the live replicas, hold a key of this id, but not all the same one, or not the one the store knows.
    Differs(Vec<ReplicaId>),
}

/// What a replica goes by when it vouches for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProof {
    /// The key has opened something that is stored under its id.
    Opened,
    /// Nothing is stored under its id.
    Unused,
}

/// Lets replicas agree on keys. All methods are safe to repeat.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The key that was promoted, if one ever was; before that each replica seals with its file's primary.
    async fn promoted_key(&self) -> Result<Option<String>, StoreError>;

    /// The check value of the key of each id, as far as somebody has vouched for one.
    async fn key_checks(&self) -> Result<BTreeMap<String, String>, StoreError>;

    /// Vouches for the key of an id, unless somebody has vouched for one before; compares and sets in one step, and never
    /// changes what is there. A key that was not used yet is not vouched for while a live replica holds another one of its
    /// id: one of an older version seals without asking. Answers with the check value that stands.
    async fn vouch_for_key(&self, id: &str, check: &str, proof: KeyProof) -> Result<String, StoreError>;

    /// Makes a key the one that seals, if every live replica holds it, and the same one, and it is the one that was vouched
    /// for, if any was; compares and sets in one step.
    async fn promote(&self, key: &str) -> Result<Promoted, StoreError>;
}
