//! The audit log of a real vault: each act leaves exactly its line, a full disk degrades the service and never the data,
//! rotation loses nothing, and nothing secret is in it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

mod disk;
mod lines;
mod stage;
