//! One file a command: its arguments, with the help that a person reads, and what it runs.

pub(crate) mod admin;
pub(crate) mod check_config;
pub(crate) mod completions;
#[cfg(feature = "demo")]
pub(crate) mod demo;
#[cfg(feature = "demo")]
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod healthcheck;
#[cfg(feature = "demo")]
mod idp_args;
pub(crate) mod keygen;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod serve;
