//! Mutual TLS for modules: who may open a connection, how long it may do nothing, and how it ends.
//!
//! A handler is reached only over a connection whose client certificate was verified, and finds that certificate as a
//! [`Peer`](crate::callers::Peer). What a module may do is decided elsewhere. Private keys, and what is inside of a
//! broken file, are never told.

mod accept;
mod activity;
mod connection;
mod reload;
mod settings;
#[cfg(test)]
mod tests;

pub use accept::{Limits, serve};
pub use reload::{FileWatch, Refreshed, TlsState};
pub use settings::{TlsError, TlsSettings, not_after};
