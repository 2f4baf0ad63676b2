//! The operators' listener, API and commands on real parts: `tokenvault serve` replicas, Redis, Keycloak, TLS.

mod events;
mod everyday;
mod failures;
mod keys;
mod looks;
mod rights;
mod stage;
mod terminal;
mod transcripts;
