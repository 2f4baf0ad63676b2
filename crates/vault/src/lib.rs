//! What the vault does, without a word of how it is reached: jobs are registered, read and released, what is due is
//! renewed, and replicas tell each other what they need to know.
//!
//! It works through the ports of the core ([`Services`](services::Services) holds them together). It must never know HTTP,
//! TLS, the configuration or the command line.

pub mod ending;
pub mod files;
pub mod fleet;
pub mod jitter;
pub mod jobs;
pub mod journal;
pub mod keyring;
pub mod observer;
mod own_session;
pub mod problem;
pub mod reconciler;
pub mod repeats;
pub mod replica;
pub mod services;
pub mod spans;
pub mod store_news;
pub mod tenants;
pub mod wake;
