//! The parts of the demonstration, each by itself. The whole of it is tested in `tests/demo.rs`.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{Features, Keycloak, Request};
use serde_json::Value;
use tokenvault_core::ports::testing::{ManualClock, SeededEntropy};
use tokenvault_core::time::Timestamp;

use super::files::{self, Directory};
use super::jobs::JobProgress;
use super::realm::{DemoRealm, TokenShape, random_uuid};
use super::record_server::TokenVerifier;
use super::report::DemoReport;

const START: u64 = 1_800_000_000;

/// An identity provider without a network, and an access token of 3 seconds it issued at [`START`].
fn issued() -> (Keycloak, String) {
    let realm = DemoRealm::new("demo".to_owned(), TokenShape::Folio, Duration::from_secs(3), &SeededEntropy::new(1));
    let entropy = keycloak_double::DoubleSeededEntropy::new(2);
    let mut keycloak = Keycloak::new("http://idp", Features::default(), entropy);
    keycloak.add_realm(realm.embedded()).unwrap();
    let form = [
        ("grant_type", "password"),
        ("client_id", realm.ui_client.as_str()),
        ("client_secret", realm.ui_secret.expose()),
        ("username", realm.user),
        ("password", realm.password.expose()),
    ];
    let login = Request::post("/realms/demo/protocol/openid-connect/token", form);
    let answer: Value = serde_json::from_str(&keycloak.handle(START * 1000, &login).body).unwrap();
    (keycloak, answer["access_token"].as_str().unwrap().to_owned())
}

fn verifier(keycloak: &mut Keycloak, issuer: &str, clock: Arc<ManualClock>) -> TokenVerifier {
    let keys = keycloak.handle(START * 1000, &Request::get("/realms/demo/protocol/openid-connect/certs"));
    TokenVerifier::new(issuer, serde_json::from_str(&keys.body).unwrap(), clock)
}

#[test]
fn a_record_is_taken_until_its_token_has_expired() {
    let (mut keycloak, token) = issued();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(START)));
    let verifier = verifier(&mut keycloak, "http://idp/realms/demo", clock.clone());
    assert!(verifier.accepts(&token));
    clock.advance(Duration::from_millis(3999));
    assert!(verifier.accepts(&token));
    clock.advance(Duration::from_millis(1));
    assert!(!verifier.accepts(&token));
}

#[test]
fn a_record_needs_a_token_of_this_issuer_unaltered() {
    let (mut keycloak, token) = issued();
    let clock = Arc::new(ManualClock::at(Timestamp::from_secs(START)));
    let own = verifier(&mut keycloak, "http://idp/realms/demo", clock.clone());
    let other = verifier(&mut keycloak, "http://idp/realms/other", clock);
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert!(!other.accepts(&token));
    assert!(!own.accepts(&format!("{signed}.AAAA")));
    assert!(!own.accepts("nonsense"));
}

#[test]
fn the_story_is_told_only_if_one_job_died_and_the_other_finished() {
    let plain = |done, failed| JobProgress {
        done,
        failed,
        first_401: (failed > 0).then_some(Duration::from_millis(3140)),
        ..JobProgress::default()
    };
    let vaulted =
        |done, failed| JobProgress { done, failed, generation: Some(7), tokens_used: 4, ..JobProgress::default() };
    let told = DemoReport::on(100, &plain(30, 70), &vaulted(100, 0), 1);
    assert!(told.ok);
    assert_eq!((told.vault.renewals, told.plain.first_401_at_seconds), (6, Some(3.1)));
    for (plain, vaulted) in [
        (plain(100, 0), vaulted(100, 0)), // the token was not outlived
        (plain(0, 100), vaulted(100, 0)), // it never worked
        (plain(30, 70), vaulted(99, 1)),
        (plain(30, 70), vaulted(99, 0)),
    ] {
        assert!(!DemoReport::on(100, &plain, &vaulted, 1).ok, "{plain:?} {vaulted:?}");
    }
}

#[test]
fn the_result_has_the_members_programs_read() {
    let report = DemoReport::on(10, &JobProgress::default(), &JobProgress::default(), 1);
    let json = serde_json::to_string(&report).unwrap();
    let expected = concat!(
        r#"{"plain":{"records":10,"done":0,"failed":0,"first_401_at_seconds":null},"#,
        r#""vault":{"records":10,"done":0,"failed":0,"renewals":0,"tokens_used":0},"ok":false}"#
    );
    assert_eq!(json, expected);
}

#[test]
fn a_chosen_directory_is_private_and_stays() {
    let parent = tempfile::tempdir().unwrap();
    let chosen = parent.path().join("dev");
    drop(Directory::open(Some(&chosen)).unwrap());
    assert_eq!(chosen.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_second_run_in_a_chosen_directory_seals_and_authenticates_with_what_the_first_has_written() {
    let dir = tempfile::tempdir().unwrap();
    let (directory, entropy) = (Directory::open(Some(dir.path())).unwrap(), SeededEntropy::new(1));
    let (start, day) = (Timestamp::from_millis(1_000_000), Duration::from_hours(24));
    let run = |now: Timestamp| {
        let certificates = files::identities(&directory, now, &entropy).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("mod-inventory.key"), *certificates.worker.key);
        (read("keyring.toml"), ["ca.pem", "vault.pem", "vault.key", "mod-data-import.key"].map(read))
    };
    let first = run(start);

    assert_eq!(run(start + 28 * day), first);
    let (keyring, certificates) = run(start + 30 * day);
    assert_eq!(keyring, first.0, "what a real Redis holds is sealed with it");
    assert_ne!(certificates, first.1, "certificates that end within a day are made anew");
    std::fs::remove_file(dir.path().join("vault.key")).unwrap();
    assert_ne!(run(start + 30 * day).1, certificates, "a set that is not whole is made anew");
}

#[test]
fn what_was_made_of_a_file_stays_beside_the_new_one() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(Some(dir.path())).unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).ok();
    directory.written_anew("policy.toml", "first").unwrap();
    directory.written_anew("policy.toml", "for other options").unwrap();
    assert_eq!(read("policy.toml.before"), None, "nobody has changed it");
    std::fs::write(dir.path().join("policy.toml"), "edited").unwrap();

    for text in ["second", "third"] {
        directory.written_anew("policy.toml", text).unwrap();

        let now = (read("policy.toml"), read("policy.toml.before"));
        assert_eq!(now, (Some(text.to_owned()), Some("edited".to_owned())));
    }
}

#[test]
fn ids_are_uuids() {
    let id = random_uuid(&SeededEntropy::new(1));
    let shape: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!((shape, id.as_bytes()[14]), (vec![8, 4, 4, 4, 12], b'4'));
}
