//! Connections that die without a word, and what was out of reach for a while: the vault is well again soon after the cause
//! is gone.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

mod doors;
mod half_dead;
mod moved;
mod outage;
mod quiet;
mod stage;
