//! The connections: a pool for writes and claims, one shared connection for reads.
//!
//! A connection is thrown away as soon as it was closed or kept a command waiting too long, so that no later command
//! finds it. Where a connection turns out to have been closed (a restarted server closes all that were idle), a command
//! that is safe to repeat is sent once more on a new one. Nothing is sent again after a time-out: the caller decides. But a
//! time-out of one is the end of all that were made before it ([`Eras`]), and so is a server that takes no writes any more
//! ([`query`]).

mod cluster;
mod connection;
mod connector;
mod era;
mod name;
mod node;
mod query;
mod read_link;
mod sentinel;
mod server_id;
mod servers;
mod slot;
mod write_link;

pub(crate) use cluster::ClusterServers;
pub(crate) use connection::connect_to_anyone;
pub use connector::ServerAddress;
pub(crate) use connector::{Connector, Login};
pub use era::OnEraEnd;
pub(crate) use node::Node;
pub(crate) use query::{Query, ScriptCall, call_at};
pub(crate) use sentinel::SentinelServers;
pub(crate) use servers::Servers;
pub(crate) use slot::Slot;
pub(crate) use write_link::{Acks, Repeat};
