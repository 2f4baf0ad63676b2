//! The process harness: starts the real parts a test needs, hands out their addresses, and takes every one of them down
//! again, also when the test panics or the test process is killed.
//!
//! It must never stop a process it did not start, and never turn a missing part into a skipped test: what is missing
//! is a [`Failure`] that names the remedy.
//!
//! | module | what it gives |
//! | --- | --- |
//! | [`ports`] | free loopback ports |
//! | [`process`] | a child process that cannot outlive the test, with signals and its log; polling with a deadline |
//! | [`docker`] | whether a container engine answers |
//! | [`redis`] | a Redis of one's own: kill, restart, pause |
//! | [`sentinels`], [`cluster`] | a Redis with replicas and sentinels, and a Redis Cluster: failover, resharding |
//! | [`postgres`] | a PostgreSQL of one's own, for a Keycloak that may be killed |
//! | [`keycloak`], [`admin`] | the Keycloak all tests share, one of one's own, and the admin API |
//! | [`realm`], [`tokens`] | a realm as FOLIO has it, its users, clients and token calls |
//! | [`stand_in`] | the embedded stand-in for Keycloak as a tenant, and a user who logs in |
//! | [`folio`] | a realm exactly as FOLIO makes it, and what its users can do |
//! | [`certs`] | a certificate authority with good and bad certificates, and revocation lists |
//! | [`shared`] | what tests share while one of them uses it |
//! | [`setup_script`] | `deploy/keycloak/setup.sh`, run as an operator runs it |
//! | [`keyspace`] | everything a Redis holds, as bytes |
//! | [`fake_keycloak`] | a proxy before Keycloak that answers in its place |
//! | [`courier`] | takes Keycloak's logout tokens and hands them on to the vault |
//! | [`collector`] | a collector of traces |
//! | [`proxy`] | a TCP proxy that delays, cuts and refuses |
//! | [`balancer`] | a TCP balancer in front of replicas, which lags |
//! | [`vault`], [`policy`] | `tokenvault serve` as real processes, with configuration, keyring and policy |
//! | [`tools`], [`tree`] | the programs that check what is shipped beside the binary; what a directory holds |
//! | [`client`] | HTTP with a client certificate, as modules and operators call |

use std::path::{Path, PathBuf};

pub mod admin;
pub mod balancer;
pub mod certs;
pub mod client;
pub mod cluster;
pub mod collector;
pub mod courier;
pub mod docker;
pub mod failure;
pub mod fake_keycloak;
pub mod folio;
pub mod keycloak;
pub mod keyspace;
pub mod policy;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod realm;
pub mod redis;
mod representation;
pub mod sentinels;
pub mod setup_script;
pub mod shared;
pub mod stand_in;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod tokens;
pub mod tools;
pub mod tree;
pub mod vault;

pub use failure::{Failure, Result};

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Makes aws-lc-rs the process's TLS provider. Every client below does so by itself; call it before using rustls directly.
pub fn install_tls_provider() {
    // An error only says that one is installed already, which is what is wanted.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
}
