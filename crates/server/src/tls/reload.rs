//! The listener's files, read again when they change.
//!
//! Files that are wrong never replace what is in force: half a rotation (a new certificate, its key still the old one) is
//! passed over and taken up when the other half is there, and so is what `check-config` refuses, such as a certificate that
//! has expired. Each part is judged by itself. A start goes on with such a certificate, and says so: it has nothing better.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokenvault_vault::files::{FileWatch, Refreshed};
use tokio::sync::watch;

use super::error::TlsError;
use super::files::ListenerFiles;
use super::settings::{Successor, TlsSettings};
use crate::notices::{Notices, ReloadRefusal, ReloadRefusals, RightsLoss};
use crate::telemetry::metrics::{Metrics, ReloadedFile};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The settings in force.
pub struct TlsState {
    files: ListenerFiles,
    current: watch::Sender<Arc<TlsSettings>>,
    seen: Mutex<FileState>,
}

struct FileState {
    files: FileWatch,
    problem: Option<String>,
}

impl TlsState {
    /// Reads the files for the first time; here an error is final.
    pub fn load(files: impl Into<ListenerFiles>) -> Result<Arc<Self>, TlsError> {
        let files = files.into();
        let watch = FileWatch::new(files.paths().cloned());
        let settings = TlsSettings::load(&files)?;
        Ok(Arc::new(Self {
            files,
            current: watch::Sender::new(Arc::new(settings)),
            seen: Mutex::new(FileState { files: watch, problem: None }),
        }))
    }

    /// The settings in force.
    pub fn current(&self) -> Arc<TlsSettings> {
        Arc::clone(&self.current.borrow())
    }

    /// What is wrong with the files as they are now, while older settings are in force.
    pub fn problem(&self) -> Option<String> {
        self.seen.lock().problem.clone()
    }

    /// Looks at the files; reads them, so not for a worker of the runtime.
    pub fn refresh(&self, notices: &Notices) -> Refreshed {
        let mut seen = self.seen.lock();
        // After a failure it is tried each time: perhaps it was the reading and not the files, or a certificate has begun.
        if !seen.files.changed() && seen.problem.is_none() {
            return Refreshed::Unchanged;
        }
        let Successor { settings, refused, losses } = self.current().successor(&self.files);
        seen.problem = (!refused.is_empty()).then(|| refused.values().cloned().collect::<Vec<_>>().join("; "));
        if let Some(settings) = settings {
            self.current.send_replace(Arc::new(settings));
            tracing::info!(listener = self.files.usage, "the listener's certificates were read again");
        }
        let refusals = refused.into_iter().map(|(part, problem)| {
            let change_first = self.files.file(part).1.display().to_string();
            (self.files.reloaded(part), ReloadRefusal { problem, change_first })
        });
        let refusals: ReloadRefusals = refusals.collect();
        let files: Vec<ReloadedFile> = self.files.parts().map(|part| self.files.reloaded(part)).collect();
        notices.report_reload(&files, &refusals);
        for file in files {
            let of_file = losses.iter().filter(|(part, _)| self.files.reloaded(*part) == file);
            notices.report_losses(file, &of_file.map(|(_, loss)| loss.clone()).collect::<Vec<RightsLoss>>());
        }
        if refusals.is_empty() { Refreshed::Replaced } else { Refreshed::Refused }
    }

    /// Looks at the files each second, and keeps the metrics of what expires. Does not end by itself.
    pub async fn watch(self: Arc<Self>, metrics: Arc<Metrics>, notices: Arc<Notices>) {
        for fault in self.current().faults(&self.files) {
            tracing::error!(problem = fault.problem, "the vault has started with it, for it has nothing better");
        }
        loop {
            for (usage, at) in self.current().expiries() {
                metrics.process.certificate(usage, *at);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let (state, notices) = (Arc::clone(&self), Arc::clone(&notices));
            // The error of a task that panicked repeats the panic's words.
            if tokio::task::spawn_blocking(move || state.refresh(&notices)).await.is_err() {
                tracing::error!("the look at the listener's certificates failed");
            }
        }
    }

    /// The settings in force, and word of every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<TlsSettings>> {
        self.current.subscribe()
    }
}
