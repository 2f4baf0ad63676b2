//! Where the vault listens: for modules (`api`), operators (`admin`), the identity provider (`backchannel`) and probes
//! (`management`), over TLS; what it is configured with; what it tells of itself; and how all of it is started and stopped.
//!
//! What is done with a job is decided in `tokenvault-core` and carried out in `tokenvault-vault`; nothing here does either.

pub mod admin;
pub mod api;
pub mod audit;
pub mod backchannel;
pub mod callers;
pub mod capacity;
pub mod clock;
pub mod config;
mod due_count;
pub mod entropy;
pub mod management;
pub mod notices;
mod readiness;
pub mod realms;
pub mod reload;
pub mod runtime;
pub mod telemetry;
pub mod tls;
pub mod web;
pub mod wiring;
