//! The vault with everything around it in one process: for `tokenvault demo`, which shows what the vault is for, and
//! `tokenvault dev`, which gives module developers a vault to call.
//!
//! The vault here is the one of production: it reads a configuration file like any other, and its callers come over
//! mutual TLS. Only what it stands on is embedded (an identity provider, certificates, a store in memory), and what it
//! is made for is played (a UI with its user, two modules, a server that saves records).
//!
//! Nothing outlives a stage: secrets lie in files of mode 0600 that are deleted with it, and so is a realm that was made
//! in a real Keycloak.

mod certificates;
mod claims;
mod error;
mod files;
mod idp;
mod jobs;
mod keycloak;
mod lines;
mod module;
mod realm;
mod records;
mod report;
mod run;
mod show;
mod stage;
#[cfg(test)]
mod tests;
mod ui;

pub use claims::TwoTokens;
pub use error::DemoError;
pub use lines::DevLines;
pub use realm::Shape;
pub use report::{PlainResult, Report, VaultResult};
pub use run::{Story, run};
pub use show::{Live, Log, Show, Silent};
pub use stage::{KeycloakAccess, Ports, Setting, Stage, with_stage};
