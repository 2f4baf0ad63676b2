//! What the workspace's outer tests share: real processes, real Keycloak realms, throw-away certificates.
//!
//! Everything here is for tests only and must never be linked into the product.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and environment"
)]

pub mod account;
pub mod bench;
pub mod chaos;
pub mod harness;
pub mod model;
pub mod naive;
pub mod replicas;
pub mod reseal;
pub mod rollout;
pub mod scale;
pub mod scenario;
pub mod siege;
pub mod sim;
pub mod stage;
pub mod store_contract;
