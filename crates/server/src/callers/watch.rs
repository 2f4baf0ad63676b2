//! A policy that depends on nothing else, read again when its file changes. A file that cannot be read leaves the old one
//! in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::Roster;
use crate::config::ConfigError;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A policy and the file it comes from.
pub struct PolicyFile<P> {
    file: PathBuf,
    policy: RwLock<Arc<P>>,
}

impl<P: Roster> PolicyFile<P> {
    /// Reads the file.
    pub fn load(file: &Path) -> Result<Arc<Self>, ConfigError> {
        let policy = P::load(file)?;
        if policy.is_empty() {
            tracing::warn!(list = P::LIST, "the policy names nobody: nobody may call");
        }
        Ok(Arc::new(Self { file: file.to_owned(), policy: RwLock::new(Arc::new(policy)) }))
    }

    /// Looks at the file again and again. What is wrong with it is told once, not at every look.
    pub async fn watch(self: Arc<Self>) {
        let mut last_error: Option<String> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let file = Arc::clone(&self);
            // On a thread where a disk that hangs holds up nobody else.
            let looked = tokio::task::spawn_blocking(move || file.look()).await;
            let error = match looked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some("the reader was stopped".to_owned()),
            };
            if let Some(error) = error.as_deref().filter(|&error| last_error.as_deref() != Some(error)) {
                tracing::error!(error, "the policy cannot be read; the old one stays in force");
            }
            last_error = error;
        }
    }

    /// Reads the file again and puts it in force if it is a policy.
    pub(crate) fn look(&self) -> Result<(), ConfigError> {
        let policy = P::load(&self.file)?;
        if policy != **self.policy.read() {
            tracing::info!(list = P::LIST, entries = policy.len(), "the policy was read again");
            *self.policy.write() = Arc::new(policy);
        }
        Ok(())
    }
}

impl<P> PolicyFile<P> {
    /// The policy that is in force.
    pub fn current(&self) -> Arc<P> {
        Arc::clone(&self.policy.read())
    }
}
