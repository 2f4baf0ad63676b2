//! The heart of tokenvault: what a job's token record is, when its pair is due, which step renews it at least risk, and
//! how a token is sealed.
//!
//! Everything here is either a value or a pure decision over values; the outside world is reached through [`ports`].
//! This crate must never know Redis, HTTP, TLS or an async runtime, and must never read a clock or draw a random number
//! except through a port.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`ids`] | names that are parsed once and trusted afterwards |
//! | [`time`] | instants and durations |
//! | [`secret`] | tokens that cannot be printed |
//! | [`record`] | what is kept for a job, and its encoding as fields |
//! | [`policy`] | `plan`, `apply`, `serve`: the decisions |
//! | [`seal`] | authenticated encryption, the only place that holds a cipher |
//! | [`pair`] | where a token in the clear becomes a sealed one, and back |
//! | [`ports`] | store, identity provider, clock, entropy |
//! | [`memory`] | a store in memory that keeps the same contract as the one on Redis |

pub mod ids;
pub mod memory;
pub mod pair;
pub mod policy;
pub mod ports;
pub mod record;
pub mod seal;
pub mod secret;
pub mod time;
