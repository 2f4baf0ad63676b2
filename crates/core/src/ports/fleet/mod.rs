//! What replicas and operators tell each other through the store, one port for each kind of thing.
//!
//! Nothing here holds a token or a key. Time is the store's own, except where a re-sealing is taken up.

mod events;
mod inventory;
mod keys;
mod pause;
mod replicas;
mod resealing;

pub use events::{Event, EventStore, event_place};
pub use inventory::{Census, Filter, InventoryStore, LARGEST_PAGE, NEWEST_SCHEMA, RecordPage};
pub use keys::{KeyProof, KeyStore, Promoted};
pub use pause::{Pause, PauseStore};
pub use replicas::{ReplicaStatus, ReplicaStore};
pub use resealing::{Resealing, ResealingStore};

/// Everything that is told through the store.
pub trait Fleet: ReplicaStore + KeyStore + PauseStore + ResealingStore + InventoryStore + EventStore {}

impl<S: ReplicaStore + KeyStore + PauseStore + ResealingStore + InventoryStore + EventStore> Fleet for S {}
