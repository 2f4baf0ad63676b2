//! A store in memory that keeps the same contract as the one on Redis: for tests, for simulations and for the demo.
//!
//! It keeps records as the same flat fields, so that a change reaches it exactly as it would reach Redis. The clock
//! decides only when keys expire, as Redis's own does; what is due and how long a lease holds is said by the caller. It
//! must never be the store of a deployment: it forgets everything with its process, and is one replica's alone.

mod due;
mod expiring;
mod fleet;
mod fleet_store;
mod lists;
mod records;
mod sessions;
mod store;
mod token_store;

pub use store::{MemoryStore, Snapshot};
