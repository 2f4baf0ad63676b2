//! Every bad input gets its own answer, nothing is lost by it, nothing is half written, and no secret is shown.
//!
//! The cases talk to a real `tokenvault serve` over a real Redis and real Keycloak.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

mod stage;

mod algorithms;
mod bodies;
mod callers;
mod certificates;
mod children;
mod configuration;
mod conflicts;
mod deposits;
mod empties;
mod keycloak_away;
mod paths;
mod proofs;
mod redis_away;
