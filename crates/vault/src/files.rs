//! Files that are read again while the process runs: whether they have changed, and what came of a look at them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

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
pub fn fingerprints<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<Option<u64>> {
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
    /// Something of them cannot be used; what was in force stays in its place.
    Refused,
}
