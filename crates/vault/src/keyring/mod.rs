//! The keys in force: read again when their file changes, with the primary that the fleet has agreed on.
//!
//! A file alone never changes which key seals: before any promotion it is the primary of the file at start, afterwards the
//! promoted one. A file that cannot be used, that lacks the key that seals, or that holds another key under a known id
//! never replaces the ring in force. No message here shows more of a key than its id and its check value.
//!
//! That a key has the right name does not make it the right key: each is held against the check value that the store has for
//! its id, and against what is stored. Until it is trusted nothing is sealed with it; a wrong one opens nothing either. A ring
//! in force that holds wrong keys gives way to any file that makes it better.

mod evidence;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokenvault_core::seal::{Doubt, Keyring};

use crate::files::{FileWatch, Refreshed};

pub use evidence::{KeyEvidence, KeyFinding, KeyVerdict, examine};

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyTrust {
    /// Nothing yet.
    Untried,
    /// It is the one of its id.
    Trusted,
    /// It is another one; says how that is known.
    Wrong(String),
}

impl KeyTrust {
    /// Held against the check value that was vouched for.
    pub fn against(vouched: &str, own: &str) -> Self {
        if vouched == own {
            return Self::Trusted;
        }
        Self::Wrong(format!(
            "the store knows another one by this id, with the check value {vouched}; this one's is {own}"
        ))
    }

    /// What the evidence comes to, where it speaks against a key.
    pub fn refuted(finding: KeyFinding) -> Option<Self> {
        match finding {
            KeyFinding::Proved(_) => None,
            KeyFinding::OpensNothing => Some("it opens nothing of what is stored under this id"),
            KeyFinding::Elsewhere => Some(
                "nothing is stored under this id, and no key of this ring opens what is stored: is it another installation's?",
            ),
        }
        .map(|why| Self::Wrong(why.to_owned()))
    }
}

/// Reads a keyring's file; says what is wrong with it, and never shows a key.
pub type ReadKeyring = fn(&Path) -> Result<Keyring, String>;

struct KeyringFile {
    path: PathBuf,
    read: ReadKeyring,
}

/// The ring in force, and where it comes from.
pub struct KeyringState {
    /// Without a file, the ring is trusted as it is.
    file: Option<KeyringFile>,
    ring: RwLock<Arc<Keyring>>,
    seen: Mutex<KeyringMemory>,
}

#[derive(Default)]
struct KeyringMemory {
    files: Option<FileWatch>,
    /// What is wrong with the file as it is now.
    problem: Option<String>,
    /// The key that was promoted last.
    promoted: Option<String>,
    /// The promoted key that is to seal and is not in the ring.
    missing: Option<String>,
    /// The check values that were vouched for in the store.
    vouched: BTreeMap<String, String>,
    /// What is known of the ring's keys.
    trust: BTreeMap<String, KeyTrust>,
}

impl KeyringMemory {
    fn trusts(&self, id: &str) -> bool {
        self.trust.get(id) == Some(&KeyTrust::Trusted)
    }

    fn is_wrong(&self, id: &str) -> bool {
        matches!(self.trust.get(id), Some(KeyTrust::Wrong(_)))
    }

    /// Takes a ring up: what was known of its keys holds, and of the others what the store says.
    fn trust_of(&self, ring: &Keyring, before: &Keyring) -> BTreeMap<String, KeyTrust> {
        let trust = |id: &str| {
            let own = ring.check(id)?;
            let known = self.trust.get(id).filter(|_| before.check(id).as_ref() == Some(&own)).cloned();
            let vouched = self.vouched.get(id).map(|vouched| KeyTrust::against(vouched, &own));
            Some((id.to_owned(), vouched.or(known).unwrap_or(KeyTrust::Untried)))
        };
        ring.ids().filter_map(trust).collect()
    }

    /// The ring that a file makes of the one in force. It may not be a worse one.
    fn successor(&self, current: &Keyring, read: Keyring) -> Result<Keyring, String> {
        for id in read.ids() {
            let (Some(own), before) = (read.check(id), current.check(id)) else { continue };
            if before.as_ref() == Some(&own) {
                continue;
            }
            if let Some(vouched) = self.vouched.get(id).filter(|vouched| **vouched != own && !self.is_wrong(id)) {
                return Err(format!(
                    "the key {id:?} is not the one that the store knows by this id: its check value is {own}, and that one's {vouched}"
                ));
            }
            if before.is_some() && self.trusts(id) {
                return Err(format!("the key {id:?} is not the one it was: what was sealed with it would be lost"));
            }
        }
        let primary = current.primary();
        if self.trusts(primary) {
            return read.with_primary(primary).ok_or_else(|| format!("the key {primary:?} that seals is not in it"));
        }
        let promoted = self.promoted.as_ref().and_then(|promoted| read.with_primary(promoted));
        Ok(promoted.unwrap_or(read))
    }
}

impl KeyringState {
    /// A ring that comes from nowhere and is never read again, nor held against anything.
    pub fn fixed(ring: Keyring) -> Self {
        Self { file: None, ring: RwLock::new(Arc::new(ring)), seen: Mutex::default() }
    }

    /// A ring that was read from a file, which is looked at from now on. None of its keys is trusted yet.
    pub fn of_file(file: &Path, ring: Keyring, read: ReadKeyring) -> Self {
        let state = Self { file: Some(KeyringFile { path: file.to_owned(), read }), ..Self::fixed(ring) };
        let ring = state.current();
        state.take_up(&mut state.seen.lock(), &ring);
        state
    }

    /// The ring in force.
    pub fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.ring.read())
    }

    /// Whether anything may be begun that ends in a sealed value.
    pub fn may_seal(&self) -> bool {
        self.ring.read().may_seal()
    }

    /// The ids of all keys in use, each with its check value: what replicas tell each other.
    pub fn checks(&self) -> BTreeMap<String, String> {
        let mut checks = checks(&self.current());
        if self.file.is_some() {
            let seen = self.seen.lock();
            checks.retain(|id, _| seen.trusts(id));
        }
        checks
    }

    /// The ring's keys that are not the ones of their ids, and how that is known.
    pub fn wrong(&self) -> BTreeMap<String, String> {
        let why = |(id, trust): (&String, &KeyTrust)| match trust {
            KeyTrust::Wrong(why) => Some((id.clone(), why.clone())),
            _ => None,
        };
        self.seen.lock().trust.iter().filter_map(why).collect()
    }

    /// What is wrong with the file as it is now, while an older ring is in force.
    pub fn problem(&self) -> Option<String> {
        self.seen.lock().problem.clone()
    }

    /// The promoted key that this replica does not hold.
    pub fn missing(&self) -> Option<String> {
        self.seen.lock().missing.clone()
    }

    /// Whether nothing is known to be wrong, and all that is missing is that the store was asked.
    pub fn waits_for_store(&self) -> bool {
        self.wrong().is_empty() && self.missing().is_none() && !self.may_seal()
    }

    /// The keys for which nobody has vouched in the store, each with whether nothing at all is known of it.
    pub fn unvouched(&self) -> BTreeMap<String, bool> {
        let seen = self.seen.lock();
        let open = seen.trust.iter().filter(|(id, _)| !seen.vouched.contains_key(*id));
        open.map(|(id, trust)| (id.clone(), *trust == KeyTrust::Untried)).collect()
    }

    /// Hears which check values were vouched for. A key that is trusted stays so where the store suddenly knows less.
    pub fn hear_checks(&self, vouched: BTreeMap<String, String>) {
        let mut seen = self.seen.lock();
        if self.file.is_none() || seen.vouched == vouched {
            return;
        }
        seen.vouched = vouched;
        let ring = self.current();
        self.take_up(&mut seen, &ring);
        self.seal_with_promoted(&mut seen);
    }

    /// Hears what was found out about a key, unless there is another one in its place by now.
    pub fn conclude(&self, id: &str, check: &str, trust: KeyTrust) {
        let mut seen = self.seen.lock();
        let ring = self.current();
        if self.file.is_none() || ring.check(id).as_deref() != Some(check) || seen.vouched.contains_key(id) {
            return;
        }
        tell(id, seen.trust.get(id), &trust);
        seen.trust.insert(id.to_owned(), trust);
        self.doubt(&seen, &ring);
        self.seal_with_promoted(&mut seen);
    }

    /// Looks at the file; reads it, so not for a worker of the runtime. A problem is logged once, not at every look.
    pub fn refresh(&self) -> Refreshed {
        let Some(file) = &self.file else { return Refreshed::Unchanged };
        let mut seen = self.seen.lock();
        // What happened between the start and the first look is not known.
        let first = seen.files.is_none();
        let changed = seen.files.get_or_insert_with(|| FileWatch::new([file.path.clone()])).changed() || first;
        if !changed && seen.problem.is_none() {
            return Refreshed::Unchanged;
        }
        let current = self.current();
        let read = (file.read)(&file.path).and_then(|ring| seen.successor(&current, ring));
        match read {
            Ok(ring) => {
                if seen.problem.take().is_some() {
                    tracing::info!("the keyring file is one that can be used again");
                }
                if checks(&ring) == checks(&current) && ring.primary() == current.primary() {
                    return Refreshed::Unchanged;
                }
                let keys = ring.ids().collect::<Vec<_>>().join(", ");
                tracing::info!(keys, primary = ring.primary(), "the keyring was read again");
                self.take_up(&mut seen, &ring);
                self.seal_with_promoted(&mut seen);
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
        seen.promoted = Some(promoted.to_owned());
        self.seal_with_promoted(&mut seen);
    }

    fn seal_with_promoted(&self, seen: &mut KeyringMemory) {
        let Some(promoted) = seen.promoted.clone() else { return };
        let current = self.current();
        let Some(ring) = current.with_primary(&promoted) else {
            if seen.missing.as_ref() != Some(&promoted) {
                tracing::error!(
                    key = promoted,
                    sealing_with = current.primary(),
                    "the fleet seals with a key that this replica does not hold: add it to the keyring file; until then this replica is not ready"
                );
            }
            seen.missing = Some(promoted);
            return;
        };
        seen.missing = None;
        // One that seals is not given up for one that may not.
        if current.primary() != promoted && (ring.may_seal() || !current.may_seal()) {
            tracing::info!(key = promoted, before = current.primary(), "another key seals from now on");
            *self.ring.write() = Arc::new(ring);
        }
    }

    fn take_up(&self, seen: &mut KeyringMemory, ring: &Keyring) {
        let trust = seen.trust_of(ring, &self.current());
        for (id, trust) in &trust {
            tell(id, seen.trust.get(id), trust);
        }
        seen.trust = trust;
        self.doubt(seen, ring);
    }

    /// Puts a ring in force, with its keys in doubt that are.
    fn doubt(&self, seen: &KeyringMemory, ring: &Keyring) {
        let doubt = |(id, trust): (&String, &KeyTrust)| match trust {
            KeyTrust::Trusted => None,
            KeyTrust::Untried => Some((id.clone(), Doubt::Untried)),
            KeyTrust::Wrong(_) => Some((id.clone(), Doubt::Wrong)),
        };
        *self.ring.write() = Arc::new(ring.doubting(seen.trust.iter().filter_map(doubt).collect()));
    }
}

/// A wrong key is told once, and again when it is put right.
fn tell(id: &str, before: Option<&KeyTrust>, now: &KeyTrust) {
    match now {
        KeyTrust::Wrong(why) if before != Some(now) => tracing::error!(
            key = id,
            why,
            "a key of the keyring is not the one of its id: nothing is opened or sealed with it, and this replica is not ready, until the right one is put back; the file is read again by itself"
        ),
        KeyTrust::Trusted if matches!(before, Some(KeyTrust::Wrong(_))) => {
            tracing::info!(key = id, "the key of this id is the right one again");
        }
        _ => {}
    }
}

fn checks(ring: &Keyring) -> BTreeMap<String, String> {
    ring.ids().filter_map(|id| Some((id.to_owned(), ring.check(id)?))).collect()
}

impl KeyringState {
    /// Whether this replica may seal and open with the right keys; if not, why.
    pub fn ready(&self) -> Result<(), String> {
        let wrong = self.wrong().into_iter().fold(String::new(), |mut told, (id, why)| {
            let _ = write!(told, "{}the key {id:?} is a wrong one: {why}", if told.is_empty() { "" } else { "; " });
            told
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        if let Some(key) = self.missing() {
            return Err(format!("the promoted key {key:?} is not in the keyring"));
        }
        let ring = self.current();
        if ring.may_seal() {
            return Ok(());
        }
        Err(format!("the key {:?} that seals has not been held against what is stored yet", ring.primary()))
    }
}
