//! The vault with everything around it in one process: for `tokenvault demo`, which shows what the vault is for, and
//! `tokenvault dev`, which gives module developers a vault to call.
//!
//! The vault here is the one of production: it reads a configuration file, and its callers come over mutual TLS. What it needs
//! is embedded (an identity provider, certificates, a store in memory). What calls it is simulated (a UI with its user, two
//! modules, a server that saves records).
//!
//! Nothing may outlive a run. Secrets lie in files of mode 0600 that are deleted at its end, and so is a realm that was made in
//! a real Keycloak. Only a directory that the user chose stays.

mod certificates;
mod dev_lines;
mod environment;
mod error;
mod files;
mod http;
mod identity_provider;
mod jobs;
mod keycloak_realm;
mod module;
mod observer;
mod realm;
mod record_server;
mod report;
mod scenario;
mod settings;
#[cfg(test)]
mod tests;
mod token_claims;
mod ui_session;

pub use dev_lines::DevLines;
pub use environment::{DemoEnvironment, with_environment};
pub use error::DemoError;
pub use observer::{DemoObserver, NoOutput, ProgressBars, ProgressLog};
pub use realm::TokenShape;
pub use report::{DemoReport, PlainResult, VaultResult};
pub use scenario::{Scenario, run};
pub use settings::{DemoSettings, KeycloakAccess, ListenPorts};
pub use token_claims::TokenComparison;
