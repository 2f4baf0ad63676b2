//! A policy that depends on nothing else, read again when its file changes. A file that cannot be read leaves the old one
//! in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::PolicyTable;
use crate::config::ConfigError;
use crate::notices::{Notices, ReloadRefusals, RightsLoss, refusal};
use crate::telemetry::metrics::ReloadedFile;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A policy that can be read again by itself.
pub trait ReloadablePolicy: PolicyTable {
    /// What its file is called where a change of it is refused.
    const FILE: ReloadedFile;

    /// What another policy takes away from those in this one.
    fn losses(&self, after: &Self) -> Vec<RightsLoss>;
}

/// A policy and the file it comes from.
pub struct PolicyFile<P> {
    file: PathBuf,
    policy: RwLock<Arc<P>>,
}

impl<P: ReloadablePolicy> PolicyFile<P> {
    /// Reads the file.
    pub fn load(file: &Path) -> Result<Arc<Self>, ConfigError> {
        let policy = P::load(file)?;
        if policy.is_empty() {
            tracing::warn!(list = P::LIST, "the policy names nobody: nobody may call");
        }
        Ok(Arc::new(Self { file: file.to_owned(), policy: RwLock::new(Arc::new(policy)) }))
    }

    /// Looks at the file again and again.
    pub async fn watch(self: Arc<Self>, notices: Arc<Notices>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let (file, notices) = (Arc::clone(&self), Arc::clone(&notices));
            // On a thread where a disk that hangs holds up nobody else.
            if tokio::task::spawn_blocking(move || file.look(&notices)).await.is_err() {
                tracing::error!("the look at the policy failed");
            }
        }
    }

    /// Reads the file again and puts it in force if it is a policy.
    pub(crate) fn look(&self, notices: &Notices) {
        let policy = match P::load(&self.file) {
            Ok(policy) => policy,
            Err(error) => {
                let refused = refusal(&error.findings, Some(&self.file));
                return notices.report_reload(&[P::FILE], &ReloadRefusals::from([(P::FILE, refused)]));
            }
        };
        notices.report_reload(&[P::FILE], &ReloadRefusals::new());
        let before = self.current();
        if policy != *before {
            tracing::info!(list = P::LIST, entries = policy.len(), "the policy was read again");
            let losses = before.losses(&policy);
            *self.policy.write() = Arc::new(policy);
            notices.report_losses(P::FILE, &losses);
        }
    }
}

impl<P> PolicyFile<P> {
    /// The policy that is in force.
    pub fn current(&self) -> Arc<P> {
        Arc::clone(&self.policy.read())
    }
}
