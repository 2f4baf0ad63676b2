//! The listener's files: what is wrong with them, and what happens when they change.

use tokenvault_core::time::Timestamp;
use tokenvault_vault::files::{FileWatch, Refreshed};

use super::certificates::{Authority, Files, Identity, ends_in, expired, valid, valid_since_longer};
use crate::config::ServerSection;
use crate::tls::{TlsSettings, TlsState, not_after};

fn notices() -> std::sync::Arc<crate::notices::Notices> {
    crate::notices::Notices::new(std::sync::Arc::default())
}

fn problem(config: &ServerSection) -> String {
    match TlsSettings::load(&config.into()) {
        Ok(_) => panic!("it was taken"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn every_problem_names_its_file() {
    let files = Files::new();
    let good = files.config();
    files.write("empty", "");
    files.write("torn", "-----BEGIN CERTIFICATE-----\nAAAA\n");
    files.write("damaged", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    files.write("other.key", &files.authority.server().key);
    files.write("damaged.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    files.write("damaged.crl", "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n");
    let at = |name: &str| files.path(name);
    let cases = [
        (ServerSection { cert_file: at("none"), ..good.clone() }, "none", "cannot be read"),
        (ServerSection { cert_file: at("empty"), ..good.clone() }, "empty", "contains no certificate"),
        (ServerSection { cert_file: at("damaged"), ..good.clone() }, "damaged", "first certificate cannot be read"),
        (ServerSection { key_file: at("ca.pem"), ..good.clone() }, "ca.pem", "contains no private key"),
        (ServerSection { key_file: at("damaged.key"), ..good.clone() }, "damaged.key", "cannot be used"),
        (
            ServerSection { key_file: at("other.key"), ..good.clone() },
            "other.key",
            "is not the key of the first certificate",
        ),
        (ServerSection { client_ca_file: at("torn"), ..good.clone() }, "torn", "is not valid PEM"),
        (
            ServerSection { client_ca_file: at("damaged"), ..good.clone() },
            "damaged",
            "certificate number 1 cannot be read",
        ),
        (
            ServerSection { client_crl_file: Some(at("empty")), ..good.clone() },
            "empty",
            "no certificate revocation list",
        ),
        (ServerSection { client_crl_file: Some(at("damaged.crl")), ..good.clone() }, "damaged.crl", "cannot be used"),
    ];
    for (config, file, wrong) in cases {
        let problem = problem(&config);
        assert!(problem.starts_with(&at(file).display().to_string()), "{problem}");
        assert!(problem.contains(wrong), "{wrong} in {problem}");
    }
}

#[test]
fn a_problem_never_quotes_the_file() {
    let files = Files::new();
    files.write("server.key", "-----BEGIN PRIVATE KEY\nc2VjcmV0\n-----END PRIVATE KEY-----\n");
    let unterminated = problem(&files.config());
    files.write("server.key", "-----BEGIN PRIVATE KEY-----\nsecret!\n-----END PRIVATE KEY-----\n");
    let undecodable = problem(&files.config());
    for problem in [unterminated, undecodable] {
        let quoted = ["c2Vj", "secret", "PRIVATE", "[45"].into_iter().find(|part| problem.contains(part));
        assert_eq!(quoted, None, "in {problem}");
    }
}

#[test]
fn half_a_rotation_is_passed_over_and_the_whole_taken_up() {
    let files = Files::new();
    let state = TlsState::load(&files.config()).unwrap();
    let before = state.current();
    let Identity { cert, key, .. } = files.authority.server();

    files.write("server.pem", &cert);
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    assert!(state.problem().unwrap().contains("server.key"));
    assert!(std::sync::Arc::ptr_eq(&before, &state.current()));

    files.write("server.key", &key);
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
    assert_eq!(state.problem(), None);
    assert_eq!(state.refresh(&notices()), Refreshed::Unchanged);
}

fn write_server(files: &Files, Identity { cert, key, .. }: &Identity) {
    files.write("server.pem", cert);
    files.write("server.key", key);
}

#[test]
fn each_part_is_taken_up_by_itself() {
    let files = Files::new();
    let list = |revoked: &[&Identity]| files.authority.crl(revoked, valid());
    let state = TlsState::load(&files.config_with_crl(&list(&[]))).unwrap();
    let gone = files.authority.module(7, valid());
    assert!(state.current().admits(&[gone.leaf()]).is_ok());

    write_server(&files, &files.authority.server_for(expired()));
    files.write("crl.pem", &list(&[&gone]));
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    assert!(state.problem().unwrap().contains("server.pem expired on"), "{:?}", state.problem());
    assert!(state.current().admits(&[gone.leaf()]).is_err(), "half a renewal holds up no revocation");
    assert!(state.current().faults(&(&files.config()).into()).is_empty());

    // Nothing new is nothing to take up.
    let before = state.current();
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    assert!(std::sync::Arc::ptr_eq(&before, &state.current()));

    files.write("crl.pem", &files.authority.crl(&[], expired()));
    write_server(&files, &files.authority.server());
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    assert!(state.problem().unwrap().contains("crl.pem expired on"), "{:?}", state.problem());
    assert!(state.current().admits(&[gone.leaf()]).is_err());
    files.write("crl.pem", &list(&[]));
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
    assert!(state.current().admits(&[gone.leaf()]).is_ok());
}

#[test]
fn half_a_change_of_authorities_and_their_lists_locks_nobody_out() {
    let files = Files::new();
    let other = Authority::new("other");
    let (own_list, other_list) = (files.authority.crl(&[], valid()), other.crl(&[], valid()));
    let state = TlsState::load(&files.config_with_crl(&own_list)).unwrap();
    let module = files.authority.module(7, valid());

    for (authorities, list) in [("torn", other_list.as_str()), (&other.pem(), "torn")] {
        files.write("ca.pem", authorities);
        files.write("crl.pem", list);
        assert_eq!(state.refresh(&notices()), Refreshed::Refused);
        assert!(state.problem().unwrap().contains("does not fit what stays in force"), "{:?}", state.problem());
        assert!(state.current().admits(&[module.leaf()]).is_ok(), "what was in force stays, whole");
    }

    files.write("crl.pem", &other_list);
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
    assert!(state.current().admits(&[other.module(8, valid()).leaf()]).is_ok());
}

#[test]
fn an_older_list_gives_nobody_back_what_a_newer_one_has_taken() {
    let files = Files::new();
    let gone = files.authority.module(7, valid());
    let state = TlsState::load(&files.config_with_crl(&files.authority.crl(&[&gone], valid()))).unwrap();

    files.write("crl.pem", &files.authority.crl(&[], valid_since_longer()));
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    assert!(state.problem().unwrap().contains("older than the one in force"), "{:?}", state.problem());
    assert!(state.current().admits(&[gone.leaf()]).is_err());

    files.write("crl.pem", &files.authority.crl(&[], valid()));
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
    assert!(state.current().admits(&[gone.leaf()]).is_ok(), "a newer list may say that it was a mistake");
}

#[test]
fn what_is_wrong_already_holds_up_nothing_and_is_no_excuse() {
    let files = Files::new();
    write_server(&files, &files.authority.server_for(expired()));
    // A start has nothing better.
    let state = TlsState::load(&files.config_with_crl(&files.authority.crl(&[], valid()))).unwrap();
    assert_eq!(state.current().faults(&(&files.config()).into()).len(), 1);

    files.write("crl.pem", &files.authority.crl(&[], ends_in(600)));
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
    write_server(&files, &files.authority.server_for(expired()));
    assert_eq!(state.refresh(&notices()), Refreshed::Refused, "another one is not better");
    write_server(&files, &files.authority.server());
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
}

#[test]
fn an_old_list_beside_one_in_force_is_no_fault() {
    let files = Files::new();
    let state = TlsState::load(&files.config_with_crl(&files.authority.crl(&[], valid()))).unwrap();
    let both = format!("{}{}", files.authority.crl(&[], expired()), files.authority.crl(&[], ends_in(600)));
    files.write("crl.pem", &both);
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
}

#[test]
fn a_file_that_is_away_for_a_while_changes_nothing() {
    let files = Files::new();
    let state = TlsState::load(&files.config()).unwrap();
    std::fs::rename(files.path("ca.pem"), files.path("away")).unwrap();
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    assert_eq!(state.refresh(&notices()), Refreshed::Refused);
    std::fs::rename(files.path("away"), files.path("ca.pem")).unwrap();
    assert_eq!(state.refresh(&notices()), Refreshed::Replaced);
}

#[test]
fn a_watch_sees_what_changed_and_nothing_else() {
    let files = Files::new();
    files.write("policy", "one");
    let mut watch = FileWatch::new([files.path("policy"), files.path("later")]);
    assert!(!watch.changed());
    // Of the same length, and perhaps within the same tick of the file system's clock.
    files.write("policy", "two");
    assert!(watch.changed());
    files.write("policy", "two");
    assert!(!watch.changed());
    files.write("later", "");
    assert!(watch.changed());
    std::fs::remove_file(files.path("later")).unwrap();
    assert!(watch.changed());
    assert!(!watch.changed());
}

#[test]
fn what_expires_first_is_told_for_each_use() {
    let files = Files::new();
    let crls = format!("{}{}", files.authority.crl(&[], valid()), files.authority.crl(&[], ends_in(60)));
    let server = files.authority.server();
    files.write("server.pem", &server.cert);
    files.write("server.key", &server.key);
    let settings = TlsSettings::load(&(&files.config_with_crl(&crls)).into()).unwrap();
    let at = |usage| settings.expiries().iter().find(|(found, _)| *found == usage).map(|(_, at)| *at);
    assert_eq!(at("server"), not_after(&server.leaf()));
    assert_eq!(at("client_ca"), not_after(&files.authority.der()));
    let hour_less = at("server").unwrap() - std::time::Duration::from_mins(58);
    assert!(at("client_crl").unwrap() < hour_less, "the earlier of two lists");
    assert!(at("client_crl").unwrap() > Timestamp::from_secs(1_700_000_000));
}
