//! What is told about every act: who did what to which job, when, and how it went.
//!
//! One entry feeds two readers: the audit file and the events that operators watch. An entry never holds a token, a key or
//! a secret; it is made by whoever carries the act out (HTTP, reconciler, admin), and nothing here decides anything about a
//! job. Telling must never hold up a renewal nor lose one.

mod entry;
mod events;
mod recorder;

use async_trait::async_trait;

pub use entry::{Act, Actor, Entry};
pub use events::Events;
pub use recorder::Recorder;

/// It cannot be recorded, and recording is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct NotRecorded;

/// Takes entries down.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Before something is done that must not go unrecorded: whether it could be recorded now.
    fn ready(&self) -> Result<(), NotRecorded> {
        Ok(())
    }

    /// Whether anything is made of what it notes. Where it is not, nothing need be put together for it.
    fn keeps_notes(&self) -> bool {
        true
    }

    /// Before something is handed out, or done at an operator's word: takes it down, and fails only where recording is
    /// required. Whoever is told so hands out nothing.
    async fn note(&self, entry: Entry) -> Result<(), NotRecorded>;

    /// Takes down what has happened already. Never waits and never fails: what cannot be written now is written later.
    fn record(&self, entry: Entry);

    /// Where recording is required: waits until what was recorded is written. What it fails for is written later.
    async fn settled(&self) -> Result<(), NotRecorded> {
        Ok(())
    }

    /// Waits, for a moment at most, until what was recorded is written.
    async fn flush(&self) {}

    /// Opens the file by its name again: somebody has moved it away.
    fn reopen(&self) {}
}

/// A journal that takes nothing down: for tests, simulations and demonstrations.
#[derive(Debug, Default)]
pub struct Unwritten;

#[async_trait]
impl Journal for Unwritten {
    fn keeps_notes(&self) -> bool {
        false
    }

    async fn note(&self, _entry: Entry) -> Result<(), NotRecorded> {
        Ok(())
    }

    fn record(&self, _entry: Entry) {}
}
