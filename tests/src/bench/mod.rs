//! The benchmark: the vault beside the least that can be built, on one machine in one run.
//!
//! Everything runs as processes of its own on the loopback interface: a Redis, the stand-in for Keycloak, the vault, and two
//! small programs. *hello* answers a fixed text over mutual TLS. The *floor* reads one value of Redis, opens it and answers a
//! token. Both are made of the vault's own libraries, allocator, runtime, TLS settings and HTTP settings, so what is measured is
//! what the vault does beyond them. Repetitions are interleaved, and ratios are medians: machines are noisy.

pub mod load;
pub mod reads;
pub mod report;
pub mod small;
pub mod stage;
pub mod usage;
