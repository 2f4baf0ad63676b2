//! What is too slow to be started for every test.

use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::Result;

/// Something that the tests of a process share while at least one of them uses it. The first one starts it, and it ends with the
/// last one: a `static` alone would never be dropped.
#[derive(Default)]
pub struct SharedWhileUsed<T>(Mutex<Weak<T>>);

impl<T> SharedWhileUsed<T> {
    /// Nothing has been started.
    pub const fn new() -> Self {
        Self(Mutex::const_new(Weak::new()))
    }

    /// What is up, or a new one.
    pub async fn get(&self, start: impl AsyncFnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut up = self.0.lock().await;
        if let Some(running) = up.upgrade() {
            return Ok(running);
        }
        let started = Arc::new(start().await?);
        *up = Arc::downgrade(&started);
        Ok(started)
    }
}
