//! The listener's files, read again when they change.
//!
//! Files that are wrong never replace the settings in force: half a rotation (a new certificate, its key still the old
//! one) is passed over and taken up when the other half is there.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::files::Files;
use super::settings::{TlsError, TlsSettings};
use crate::telemetry::metrics::Metrics;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells whether files have changed since the last look, by what is in them: a time stamp stays the same when two writes
/// follow close on each other. Reads the files; not for a worker of the runtime.
pub struct FileWatch {
    files: Vec<PathBuf>,
    seen: Vec<Option<u64>>,
}

impl FileWatch {
    /// Looks for the first time. Do it before the files are read for use, or a change in between is missed.
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Self {
        let files: Vec<PathBuf> = files.into_iter().collect();
        let seen = fingerprints(files.iter().map(PathBuf::as_path));
        Self { files, seen }
    }

    /// Looks again. A file that appears, or can no longer be read, has changed.
    pub fn changed(&mut self) -> bool {
        let now = fingerprints(self.files.iter().map(PathBuf::as_path));
        let changed = now != self.seen;
        self.seen = now;
        changed
    }
}

/// What tells whether files have changed: something of each one's content, and nothing of one that cannot be read.
pub(crate) fn fingerprints<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<Option<u64>> {
    let fingerprint = |file: &Path| {
        let content = Zeroizing::new(std::fs::read(file).ok()?);
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Some(hasher.finish())
    };
    files.map(fingerprint).collect()
}

/// What a look at the files brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// They are as they were.
    Unchanged,
    /// New settings are in force.
    Replaced,
    /// They cannot be used; the settings before them stay in force.
    Refused,
}

/// The settings in force.
pub struct TlsState {
    files: Files,
    current: watch::Sender<Arc<TlsSettings>>,
    seen: Mutex<Seen>,
}

struct Seen {
    files: FileWatch,
    problem: Option<String>,
}

impl TlsState {
    /// Reads the files for the first time; here an error is final.
    pub fn load(files: impl Into<Files>) -> Result<Arc<Self>, TlsError> {
        let files = files.into();
        let watch = FileWatch::new(files.paths().cloned());
        let settings = TlsSettings::load(&files)?;
        Ok(Arc::new(Self {
            files,
            current: watch::Sender::new(Arc::new(settings)),
            seen: Mutex::new(Seen { files: watch, problem: None }),
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

    /// Looks at the files; reads them, so not for a worker of the runtime. A problem is logged once, not at every look.
    pub fn refresh(&self) -> Refreshed {
        let mut seen = self.seen.lock();
        // After a failure it is tried each time: perhaps it was the reading and not the files.
        if !seen.files.changed() && seen.problem.is_none() {
            return Refreshed::Unchanged;
        }
        match TlsSettings::load(&self.files) {
            Ok(settings) => {
                seen.problem = None;
                self.current.send_replace(Arc::new(settings));
                tracing::info!("the listener's certificates were read again");
                Refreshed::Replaced
            }
            Err(error) => {
                let problem = error.to_string();
                if seen.problem.as_ref() != Some(&problem) {
                    tracing::error!(error = problem, "certificates cannot be used; those before them stay in force");
                }
                seen.problem = Some(problem);
                Refreshed::Refused
            }
        }
    }

    /// Looks at the files each second, and keeps the metrics of what expires. Does not end by itself.
    pub async fn watch(self: Arc<Self>, metrics: Arc<Metrics>) {
        loop {
            for (usage, at) in self.current().expiries() {
                metrics.certificate(usage, *at);
            }
            tokio::time::sleep(LOOK_EVERY).await;
            let state = Arc::clone(&self);
            // The error of a task that panicked repeats the panic's words.
            if tokio::task::spawn_blocking(move || state.refresh()).await.is_err() {
                tracing::error!("the look at the listener's certificates failed");
            }
        }
    }

    /// The settings in force, and word of every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<TlsSettings>> {
        self.current.subscribe()
    }
}
