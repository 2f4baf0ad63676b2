//! The store on Redis (6.2 and later) or Valkey.
//!
//! Every change of a record is one Lua script that compares, changes and indexes in one step, and is recognised when it
//! is repeated: see `lua/` for what each does, and `migrations/` for the keys and for the order of steps across shards.
//! This crate decides nothing about tokens. It must never log or report what a key holds, and it never sees a token in
//! the clear.

mod config;
mod error;
mod fleet;
mod inspect;
mod inventory;
mod json;
mod keys;
mod link;
mod records;
mod schema;
mod scripts;
mod sessions;
mod store;
mod units;
mod users;

pub use config::{ClusterConfig, RedisConfig, SentinelConfig};
pub use error::{InspectError, InvalidRedisConfig};
pub use inspect::{Inspection, ServerFacts, Topology, inspect};
pub use link::{OnEraEnd, ServerAddress};
pub use store::{OLDEST_SCHEMA, OnUnreadable, RedisStore, SCHEMA, Unreadable};
