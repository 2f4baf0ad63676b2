use std::path::PathBuf;

use tokenvault_core::ports::testing::SeededEntropy;
use tokenvault_vault::files::Refreshed;
use tokenvault_vault::keyring::{KeyTrust, KeyringState};

use super::*;

struct Stage {
    _dir: tempfile::TempDir,
    file: PathBuf,
    state: KeyringState,
}

/// A key of this name; the same name and seed make the same key.
fn entry(id: &str, seed: u64) -> String {
    keyring_entry(id, false, &SeededEntropy::new(seed)).to_string()
}

/// Its check value.
fn check(id: &str, seed: u64) -> String {
    let ring = parse_keyring(&text(id, &[entry(id, seed)]), "here").expect("a keyring");
    ring.check(id).expect("it is there")
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
        let state = watched_keyring(&file, ring);
        assert_eq!(state.refresh(), Refreshed::Unchanged);
        Self { _dir: dir, file, state }
    }

    /// The same with its key known to be the right one.
    fn trusting() -> Self {
        let stage = Self::set();
        stage.vouch(&[("k1", 1)]);
        stage
    }

    /// The store knows these keys.
    fn vouch(&self, keys: &[(&str, u64)]) {
        self.state.hear_checks(keys.iter().map(|(id, seed)| ((*id).to_owned(), check(id, *seed))).collect());
    }

    fn wrong(&self) -> Vec<String> {
        self.state.wrong().into_keys().collect()
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
    let stage = Stage::trusting();

    assert_eq!(stage.write(&text("k2", &[entry("k1", 1), entry("k2", 2)])), Refreshed::Replaced);

    assert_eq!(stage.keys(), ("k1".to_owned(), vec!["k1".to_owned(), "k2".to_owned()]));
    assert_eq!(stage.state.refresh(), Refreshed::Unchanged);
}

#[test]
fn the_promoted_key_seals_and_the_old_one_may_be_taken_out_then() {
    let stage = Stage::trusting();
    stage.write(&text("k1", &[entry("k1", 1), entry("k2", 2)]));

    stage.state.follow("k2");
    assert_eq!(stage.keys().0, "k1", "nobody knows yet whether it is the right one");
    stage.state.conclude("k2", &check("k2", 2), KeyTrust::Trusted);
    assert_eq!(stage.keys().0, "k2");
    assert_eq!(stage.write(&text("k2", &[entry("k2", 2)])), Refreshed::Replaced);

    assert_eq!(stage.keys(), ("k2".to_owned(), vec!["k2".to_owned()]));
}

#[test]
fn a_file_that_would_lose_something_leaves_the_ring_in_force() {
    let stage = Stage::trusting();
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

#[test]
fn a_replica_without_the_promoted_key_is_not_ready_and_goes_on_with_what_it_has() {
    let stage = Stage::trusting();

    stage.state.follow("k2");

    assert_eq!(stage.keys().0, "k1");
    assert!(stage.state.ready().is_err_and(|problem| problem.contains("\"k2\"")));
    stage.write(&text("k1", &[entry("k1", 1), entry("k2", 2)]));
    stage.state.follow("k2");
    stage.vouch(&[("k1", 1), ("k2", 2)]);
    assert_eq!(stage.keys().0, "k2");
    assert_eq!(stage.state.ready(), Ok(()));
}

#[test]
fn nothing_is_sealed_before_the_key_is_held_against_the_store() {
    let stage = Stage::set();
    assert!(!stage.state.may_seal());
    assert_eq!(stage.state.checks(), BTreeMap::new(), "others are told of no key that is not trusted");
    assert!(stage.state.ready().is_err_and(|problem| problem.contains("\"k1\"")));

    stage.vouch(&[("k1", 1)]);

    assert!(stage.state.may_seal());
    assert_eq!(stage.state.checks().keys().collect::<Vec<_>>(), ["k1"]);
    assert_eq!(stage.state.ready(), Ok(()));
}

#[test]
fn a_wrong_key_is_named_and_the_right_file_is_taken_up_without_a_restart() {
    let stage = Stage::set();

    stage.vouch(&[("k1", 7)]);

    assert!(!stage.state.may_seal());
    let problem = stage.state.ready().expect_err("it is wrong");
    for said in ["\"k1\"", &check("k1", 1), &check("k1", 7)] {
        assert!(problem.contains(said), "{problem}");
    }
    assert_eq!(stage.write(&text("k1", &[entry("k1", 7)])), Refreshed::Replaced);
    assert!(stage.state.may_seal() && stage.wrong().is_empty());
    assert_eq!(stage.state.ready(), Ok(()));
}

#[test]
fn a_key_that_opens_nothing_gives_way_to_any_other_which_is_looked_at_anew() {
    let stage = Stage::set();
    let refuted = KeyTrust::refuted(tokenvault_vault::keyring::KeyFinding::OpensNothing).expect("it speaks against it");
    stage.state.conclude("k1", &check("k1", 1), refuted);
    assert_eq!((stage.wrong(), stage.state.unvouched()["k1"]), (vec!["k1".to_owned()], false));

    assert_eq!(stage.write(&text("k1", &[entry("k1", 7)])), Refreshed::Replaced);

    assert_eq!((stage.wrong(), stage.state.unvouched()["k1"]), (vec![], true));
    stage.state.conclude("k1", &check("k1", 1), KeyTrust::Trusted);
    assert!(!stage.state.may_seal(), "that was said of the key before it");
    stage.state.conclude("k1", &check("k1", 7), KeyTrust::Trusted);
    assert!(stage.state.may_seal());
}

#[test]
fn a_wrong_key_that_does_not_seal_is_named_and_the_others_stay_in_use() {
    let stage = Stage::trusting();
    stage.vouch(&[("k1", 1)]);
    stage.write(&text("k1", &[entry("k1", 1), entry("k0", 9)]));

    stage.vouch(&[("k0", 8), ("k1", 1)]);

    assert_eq!(stage.wrong(), ["k0"]);
    assert!(stage.state.may_seal());
    assert!(stage.state.ready().is_err_and(|problem| problem.contains("\"k0\"")));
    // It may be put right, or be taken out.
    assert_eq!(stage.write(&text("k1", &[entry("k1", 1)])), Refreshed::Replaced);
    assert_eq!(stage.state.ready(), Ok(()));
}

#[test]
fn a_file_with_a_wrong_key_under_an_id_that_the_store_knows_is_refused() {
    let stage = Stage::trusting();
    stage.vouch(&[("k0", 8), ("k1", 1)]);

    for bad in [text("k1", &[entry("k1", 7)]), text("k1", &[entry("k1", 1), entry("k0", 9)])] {
        assert_eq!(stage.write(&bad), Refreshed::Refused, "{bad}");
        assert!(stage.state.may_seal() && stage.wrong().is_empty(), "{bad}");
    }

    assert_eq!(stage.write(&text("k1", &[entry("k1", 1), entry("k0", 8)])), Refreshed::Replaced);
    assert_eq!(stage.state.problem(), None);
}

#[test]
fn another_installations_ring_gives_way_to_the_right_file_whatever_its_keys_are_called() {
    let stage = Stage::set();
    let elsewhere = KeyTrust::refuted(tokenvault_vault::keyring::KeyFinding::Elsewhere).expect("it speaks against it");
    stage.state.conclude("k1", &check("k1", 1), elsewhere);

    assert_eq!(stage.write(&text("p1", &[entry("p1", 5), entry("p2", 6)])), Refreshed::Replaced);

    assert_eq!(stage.keys().0, "p1");
    stage.state.follow("p2");
    assert_eq!(stage.keys().0, "p2", "of two that are not trusted the promoted one is to be proved");
}

#[test]
fn a_key_that_is_trusted_stays_so_where_the_store_knows_less_and_not_where_it_knows_another() {
    let stage = Stage::trusting();

    stage.vouch(&[]);
    assert!(stage.state.may_seal());
    assert_eq!(stage.state.unvouched(), BTreeMap::from([("k1".to_owned(), false)]), "it is to be vouched for again");

    stage.vouch(&[("k1", 7)]);
    assert!(!stage.state.may_seal());
    stage.vouch(&[("k1", 1)]);
    assert!(stage.state.may_seal(), "the store has its own again");
}
