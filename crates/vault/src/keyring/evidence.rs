//! What the store's records say about keys for which nobody has vouched yet.
//!
//! A key that opens something stored under its id is the one of that id: that cannot be forged. A key under whose id nothing
//! is stored may be a new one, or another installation's: so it is believed only where nothing is stored at all, or where
//! another key of its ring is the right one.

use std::collections::{BTreeMap, BTreeSet};

use tokenvault_core::pair::openings;
use tokenvault_core::ports::{Filter, Fleet, KeyProof, StoreError};
use tokenvault_core::record::{Record, State};
use tokenvault_core::seal::Keyring;

use super::KeyTrust;

/// Records looked at between two questions to the store.
const PAGE: usize = 200;
/// So many values that do not open, and none that does, are enough: whoever can write to Redis can add some, and one that opens
/// is looked for beyond those.
const ENOUGH: u32 = 256;

/// What was found about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFinding {
    /// It is the one of its id.
    Proved(KeyProof),
    /// Nothing that is stored under its id opens with it.
    OpensNothing,
    /// Nothing is stored under its id, and what is stored was sealed with keys of another ring.
    Elsewhere,
}

/// What is known of a key in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyVerdict {
    /// The store knows it by its id.
    TermsSeal,
    /// Nobody has vouched for it yet, and may.
    Proved(KeyProof),
    /// It is another one; says how that is known.
    Wrong(String),
}

/// Holds each key of a ring against its check value, and where there is none, against what is stored. Vouches for nothing.
pub async fn examine(fleet: &dyn Fleet, ring: &Keyring) -> Result<BTreeMap<String, KeyVerdict>, StoreError> {
    let vouched = fleet.key_checks().await?;
    let open: BTreeSet<String> = ring.ids().filter(|id| !vouched.contains_key(*id)).map(str::to_owned).collect();
    let evidence =
        if open.is_empty() { KeyEvidence::default() } else { KeyEvidence::gather(fleet, ring, &open).await? };
    let at_home = ring.ids().any(|id| vouched.get(id).is_some_and(|check| ring.check(id).as_ref() == Some(check)));
    let known = |id: &str| {
        let own = ring.check(id)?;
        let trust = match (vouched.get(id), evidence.finding(id, at_home)) {
            (Some(vouched), _) => KeyTrust::against(vouched, &own),
            (None, KeyFinding::Proved(proof)) => return Some((id.to_owned(), KeyVerdict::Proved(proof))),
            (None, against) => KeyTrust::refuted(against)?,
        };
        let known = if let KeyTrust::Wrong(why) = trust { KeyVerdict::Wrong(why) } else { KeyVerdict::TermsSeal };
        Some((id.to_owned(), known))
    };
    Ok(ring.ids().filter_map(known).collect())
}

/// What the records that were looked at say about a ring's keys.
#[derive(Debug, Default)]
pub struct KeyEvidence {
    opened: BTreeSet<String>,
    failed: BTreeMap<String, u32>,
    anything: bool,
}

impl KeyEvidence {
    /// Looks through the store until enough is known about these keys. Changes nothing.
    pub async fn gather(fleet: &dyn Fleet, ring: &Keyring, ids: &BTreeSet<String>) -> Result<Self, StoreError> {
        // What a ring does not trust opens nothing; here it is to be tried.
        let ring = ring.doubting(BTreeMap::new());
        let (mut evidence, mut from) = (Self::default(), None);
        loop {
            let page = fleet.walk(&Filter::default(), from.as_deref(), PAGE).await?;
            page.records.iter().for_each(|stored| evidence.note(&ring, &stored.record));
            from = page.next;
            if from.is_none() || ids.iter().all(|id| evidence.settles(id)) {
                return Ok(evidence);
            }
        }
    }

    fn note(&mut self, ring: &Keyring, record: &Record) {
        // The keys of what is over may be gone.
        if matches!(record.state, State::Ended(_)) {
            return;
        }
        for (id, opens) in openings(ring, record) {
            self.anything = true;
            if opens {
                self.opened.insert(id);
            } else {
                *self.failed.entry(id).or_default() += 1;
            }
        }
    }

    fn settles(&self, id: &str) -> bool {
        self.opened.contains(id) || self.failed.get(id).is_some_and(|failed| *failed >= ENOUGH)
    }

    /// What it comes to for a key; `at_home` where another key of its ring is known to be the one of its id.
    pub fn finding(&self, id: &str, at_home: bool) -> KeyFinding {
        if self.opened.contains(id) {
            return KeyFinding::Proved(KeyProof::Opened);
        }
        match self.failed.get(id) {
            Some(_) => KeyFinding::OpensNothing,
            None if !self.anything || at_home || !self.opened.is_empty() => KeyFinding::Proved(KeyProof::Unused),
            None => KeyFinding::Elsewhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(opened: &[&str], failed: &[(&str, u32)]) -> KeyEvidence {
        KeyEvidence {
            opened: opened.iter().map(|id| (*id).to_owned()).collect(),
            failed: failed.iter().map(|(id, count)| ((*id).to_owned(), *count)).collect(),
            anything: !opened.is_empty() || !failed.is_empty(),
        }
    }

    #[test]
    fn a_key_is_proved_by_what_it_opens_or_as_a_new_one_among_its_own() {
        let (opened, unused) = (KeyFinding::Proved(KeyProof::Opened), KeyFinding::Proved(KeyProof::Unused));
        for (evidence, at_home, found) in [
            (evidence(&["k1"], &[]), false, opened),
            (evidence(&["k1"], &[("k1", 9_000)]), false, opened),
            (evidence(&[], &[("k1", 1)]), true, KeyFinding::OpensNothing),
            (evidence(&[], &[]), false, unused),
            (evidence(&["k0"], &[]), false, unused),
            (evidence(&[], &[("p1", 3)]), true, unused),
            (evidence(&[], &[("p1", 3)]), false, KeyFinding::Elsewhere),
        ] {
            assert_eq!(evidence.finding("k1", at_home), found, "{evidence:?}, {at_home}");
        }
    }

    #[test]
    fn a_few_values_that_do_not_open_settle_nothing() {
        assert!(!evidence(&[], &[("k1", 8)]).settles("k1"));
        assert!(evidence(&[], &[("k1", ENOUGH)]).settles("k1"));
        assert!(evidence(&["k1"], &[("k1", 8)]).settles("k1"));
        assert!(!evidence(&["k0"], &[]).settles("k1"));
    }
}
