//! One module against the others: what a module with a certificate and a live token does its worst with takes nothing from
//! another module. Real Keycloak, real Redis, a real `tokenvault serve`.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

mod stage;

mod full;
mod refused;
mod renewals;
