//! The keys in force: read again when their file changes, with the primary that the fleet has agreed on.
//!
//! A file alone never changes which key seals: before any promotion it is the primary of the file at start, afterwards the
//! promoted one. A file that cannot be used, that lacks the key that seals, or that holds another key under a known id
//! never replaces the ring in force. No message here shows more of a key than its id.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use tokenvault_core::seal::Keyring;

use crate::config::load_keyring;
use crate::management::ReadyPart;
use crate::tls::{FileWatch, Refreshed};

/// The ring in force, and where it comes from.
pub struct KeyringState {
    file: Option<PathBuf>,
    ring: RwLock<Arc<Keyring>>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    files: Option<FileWatch>,
    /// What is wrong with the file as it is now.
    problem: Option<String>,
    /// The promoted key that is to seal and is not in the ring.
    missing: Option<String>,
}

impl KeyringState {
    /// A ring that comes from nowhere and is never read again.
    pub fn fixed(ring: Keyring) -> Self {
        Self { file: None, ring: RwLock::new(Arc::new(ring)), seen: Mutex::default() }
    }

    /// A ring that was read from a file, which is looked at from now on.
    pub fn of_file(file: &Path, ring: Keyring) -> Self {
        Self { file: Some(file.to_owned()), ..Self::fixed(ring) }
    }

    /// The ring in force.
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring.read())
    }

    /// The ids of all keys, each with its check value: what replicas tell each other.
    pub fn checks(&self) -> BTreeMap<String, String> {
        checks(&self.current())
    }

    /// What is wrong with the file as it is now, while an older ring is in force.
    pub fn problem(&self) -> Option<String> {
        self.seen.lock().problem.clone()
    }

    /// The promoted key that this replica does not hold.
    pub fn missing(&self) -> Option<String> {
        self.seen.lock().missing.clone()
    }

    /// Looks at the file; reads it, so not for a worker of the runtime. A problem is logged once, not at every look.
    pub fn refresh(&self) -> Refreshed {
        let Some(file) = &self.file else { return Refreshed::Unchanged };
        let mut seen = self.seen.lock();
        // What happened between the start and the first look is not known.
        let first = seen.files.is_none();
        let changed = seen.files.get_or_insert_with(|| FileWatch::new([file.clone()])).changed() || first;
        if !changed && seen.problem.is_none() {
            return Refreshed::Unchanged;
        }
        let current = self.current();
        let read =
            load_keyring(file).map_err(|finding| finding.to_string()).and_then(|ring| successor(&current, &ring));
        match read {
            Ok(ring) => {
                seen.problem = None;
                if checks(&ring) == checks(&current) {
                    return Refreshed::Unchanged;
                }
                let keys = ring.ids().collect::<Vec<_>>().join(", ");
                tracing::info!(keys, primary = ring.primary(), "the keyring was read again");
                *self.ring.write() = Arc::new(ring);
                Refreshed::Replaced
            }
            Err(problem) => {
                if seen.problem.as_ref() != Some(&problem) {
                    tracing::error!(problem, "the keyring cannot be used; the one before it stays in force");
                }
                seen.problem = Some(problem);
                Refreshed::Refused
            }
        }
    }

    /// Seals with the promoted key from now on, if this replica holds it; else goes on with the one it has, and says so.
    pub fn follow(&self, promoted: &str) {
        let mut seen = self.seen.lock();
        let current = self.current();
        let Some(ring) = current.with_primary(promoted) else {
            if seen.missing.as_deref() != Some(promoted) {
                tracing::error!(
                    key = promoted,
                    sealing_with = current.primary(),
                    "the fleet seals with a key that this replica does not hold: add it to the keyring file; until then this replica is not ready"
                );
            }
            seen.missing = Some(promoted.to_owned());
            return;
        };
        seen.missing = None;
        if current.primary() != promoted {
            tracing::info!(key = promoted, before = current.primary(), "another key seals from now on");
            *self.ring.write() = Arc::new(ring);
        }
    }
}

fn checks(ring: &Keyring) -> BTreeMap<String, String> {
    ring.ids().filter_map(|id| Some((id.to_owned(), ring.check(id)?))).collect()
}

/// The ring that a file makes of the one in force.
fn successor(current: &Keyring, read: &Keyring) -> Result<Keyring, String> {
    let changed = current.ids().find(|id| read.check(id).is_some_and(|check| Some(check) != current.check(id)));
    if let Some(id) = changed {
        return Err(format!("the key {id:?} is not the one it was: what was sealed with it would be lost"));
    }
    let primary = current.primary();
    read.with_primary(primary).ok_or_else(|| format!("the key {primary:?} that seals is not in it"))
}

#[async_trait]
impl ReadyPart for KeyringState {
    fn name(&self) -> &'static str {
        "keyring"
    }

    async fn check(&self) -> Result<(), String> {
        match self.missing() {
            Some(key) => Err(format!("the promoted key {key:?} is not in the keyring")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ports::testing::SeededEntropy;

    use super::*;
    use crate::cli::keygen;

    struct Stage {
        _dir: tempfile::TempDir,
        file: PathBuf,
        state: KeyringState,
    }

    /// A key of this name; the same name and seed make the same key.
    fn entry(id: &str, seed: u64) -> String {
        keygen::entry(id, false, &SeededEntropy::new(seed)).to_string()
    }

    fn text(primary: &str, entries: &[String]) -> String {
        format!("primary = \"{primary}\"\n\n[keys]\n{}", entries.concat())
    }

    impl Stage {
        fn set() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let file = dir.path().join("keyring.toml");
            std::fs::write(&file, text("k1", &[entry("k1", 1)])).expect("a file");
            let ring = load_keyring(&file).expect("a keyring");
            let state = KeyringState::of_file(&file, ring);
            assert_eq!(state.refresh(), Refreshed::Unchanged);
            Self { _dir: dir, file, state }
        }

        fn write(&self, text: &str) -> Refreshed {
            std::fs::write(&self.file, text).expect("a file");
            self.state.refresh()
        }

        fn keys(&self) -> (String, Vec<String>) {
            let ring = self.state.current();
            (ring.primary().to_owned(), ring.ids().map(str::to_owned).collect())
        }
    }

    #[test]
    fn an_added_key_is_taken_up_and_the_files_primary_is_not() {
        let stage = Stage::set();

        assert_eq!(stage.write(&text("k2", &[entry("k1", 1), entry("k2", 2)])), Refreshed::Replaced);

        assert_eq!(stage.keys(), ("k1".to_owned(), vec!["k1".to_owned(), "k2".to_owned()]));
        assert_eq!(stage.state.refresh(), Refreshed::Unchanged);
    }

    #[test]
    fn the_promoted_key_seals_and_the_old_one_may_be_taken_out_then() {
        let stage = Stage::set();
        stage.write(&text("k1", &[entry("k1", 1), entry("k2", 2)]));

        stage.state.follow("k2");
        assert_eq!(stage.keys().0, "k2");
        assert_eq!(stage.write(&text("k2", &[entry("k2", 2)])), Refreshed::Replaced);

        assert_eq!(stage.keys(), ("k2".to_owned(), vec!["k2".to_owned()]));
    }

    #[test]
    fn a_file_that_would_lose_something_leaves_the_ring_in_force() {
        let stage = Stage::set();
        for bad in [
            "nonsense".to_owned(),
            text("k2", &[entry("k2", 2)]),
            text("k1", &[entry("k1", 7)]),
            text("k9", &[entry("k1", 1)]),
        ] {
            assert_eq!(stage.write(&bad), Refreshed::Refused, "{bad}");
            assert_eq!(stage.keys(), ("k1".to_owned(), vec!["k1".to_owned()]), "{bad}");
            assert!(stage.state.problem().is_some());
        }
        std::fs::remove_file(&stage.file).expect("it is there");
        assert_eq!(stage.state.refresh(), Refreshed::Refused);

        assert_eq!(stage.write(&text("k1", &[entry("k1", 1)])), Refreshed::Unchanged);
        assert_eq!(stage.state.problem(), None);
    }

    #[tokio::test]
    async fn a_replica_without_the_promoted_key_is_not_ready_and_goes_on_with_what_it_has() {
        let stage = Stage::set();

        stage.state.follow("k2");

        assert_eq!(stage.keys().0, "k1");
        assert!(stage.state.check().await.is_err_and(|problem| problem.contains("\"k2\"")));
        stage.write(&text("k1", &[entry("k1", 1), entry("k2", 2)]));
        stage.state.follow("k2");
        assert_eq!(stage.keys().0, "k2");
        assert_eq!(stage.state.check().await, Ok(()));
    }
}
