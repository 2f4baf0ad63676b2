//! The vault as a server: HTTP for modules and operators, TLS, the reconciler and the command line around the core's
//! decisions.

pub mod admin;
pub mod backchannel;
pub mod bucket;
pub mod callers;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
mod doors;
pub(crate) mod ending;
pub mod entropy;
pub mod fleet;
pub mod hardening;
pub mod http;
pub mod journal;
pub mod keyring;
pub mod leaving;
pub mod management;
pub mod migrate;
mod own_session;
pub mod parts;
pub mod problem;
mod readiness;
pub mod reconciler;
pub mod reload;
pub mod runtime;
pub mod telemetry;
pub mod tenants;
pub mod tls;
pub mod vault;
pub mod wake;
pub mod wiring;
