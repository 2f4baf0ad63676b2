//! Whether renewal stands still.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::super::error::StoreError;
use crate::time::Timestamp;

/// Renewal stands still until a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when at most.
    pub until: Timestamp,
    /// The operator who asked for it.
    pub by: String,
    /// Why, in the operator's words.
    pub reason: String,
}

/// Keeps the pause. All methods are safe to repeat.
#[async_trait]
pub trait PauseStore: Send + Sync {
    /// Stops renewal until the pause's end, or changes the pause there is.
    async fn pause(&self, pause: &Pause) -> Result<(), StoreError>;

    /// Goes on; whether there was a pause.
    async fn resume(&self) -> Result<bool, StoreError>;

    /// The pause, if one is in force.
    async fn paused(&self) -> Result<Option<Pause>, StoreError>;
}
