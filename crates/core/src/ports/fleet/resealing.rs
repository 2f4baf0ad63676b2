//! How far a re-sealing has come, and who is at it. Time is the caller's where the work is taken up.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::StoreError;
use crate::ids::ReplicaId;
use crate::time::Timestamp;

/// A re-sealing of all records with the primary key. It can be taken up by any replica where another one left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resealing {
    /// The key that everything is sealed with in the end.
    pub key: String,
    /// When it was asked for.
    pub started_at: Timestamp,
    /// When the last record was done.
    pub finished_at: Option<Timestamp>,
    /// How many records there were about when it started, ended ones left out.
    pub total: u64,
    /// Records looked at, ended ones left out.
    pub seen: u64,
    /// Records that were sealed anew. Those that another replica had done between its last note and its end are not
    /// among them.
    pub resealed: u64,
    /// Records that could not be opened; they are left as they are.
    pub failed: u64,
    /// Where to go on: what [`InventoryStore::walk`](super::InventoryStore::walk) answered last.
    pub cursor: Option<String>,
    /// Who is at it, and until when that holds.
    pub worker: Option<(ReplicaId, Timestamp)>,
}

/// Keeps the last re-sealing. All methods are safe to repeat.
#[async_trait]
pub trait ResealingStore: Send + Sync {
    /// Asks for a re-sealing, unless one to the same key is under way; answers with the one that stands.
    async fn start_resealing(&self, resealing: &Resealing) -> Result<Resealing, StoreError>;

    /// The last re-sealing.
    async fn resealing(&self) -> Result<Option<Resealing>, StoreError>;

    /// Takes the work of a re-sealing up, or keeps it, until `until`: only where nobody else has it at `now`. Answers with
    /// where it stands.
    async fn take_resealing(
        &self,
        replica: &ReplicaId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Resealing>, StoreError>;

    /// Notes how far it has come; `false` if somebody else has the work, or it is another one, by now. Who is at it is
    /// not changed.
    async fn note_resealing(&self, replica: &ReplicaId, progress: &Resealing) -> Result<bool, StoreError>;
}
