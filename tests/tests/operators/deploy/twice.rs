//! What is run a second time undoes nothing: not what somebody has changed since, and above all no key. What is missing it
//! makes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::tools::said;
use tokenvault_tests::harness::tree::{Tree, edit};

use super::{root, temporary};

/// Holds a directory to what it was.
fn assert_same(before: &Tree, dir: &Path, what: &str) -> Result<()> {
    let changed = before.changed(dir)?;
    assert!(changed.is_empty(), "{what}: changed {changed:?}");
    Ok(())
}

/// Runs a shipped script: whether it succeeded, and what it said.
fn script(name: &str, dir: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    said(Command::new(root().join("deploy").join(name)).args(arguments).current_dir(dir))
}

#[test]
fn a_file_is_made_once_and_whole() -> Result<()> {
    let dir = temporary()?;
    let made = |command: &[&str]| script("once.sh", dir.path(), &[&["etc/file"], command].concat());
    let file = dir.path().join("etc/file");

    let (failed, words) = made(&["sh", "-c", "echo half; exit 1"])?;
    assert!(!failed && Tree::of(dir.path())?.is_empty(), "{words}");
    let (empty, words) = made(&["true"])?;
    assert!(!empty && Tree::of(dir.path())?.is_empty(), "{words}");
    // As a shell leaves it where the command before `>` has failed.
    fs::write(&file, "")?;
    let (first, words) = made(&["echo", "first"])?;
    assert!(first && words.contains("etc/file: made"), "{words}");
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let (second, words) = made(&["sh", "-c", "echo second; touch has-run"])?;
    assert!(second && words.contains("etc/file: kept"), "{words}");

    assert_eq!((fs::read_to_string(file)?.as_str(), Tree::of(dir.path())?.len()), ("first\n", 1));
    Ok(())
}

/// The certificates that a vault, a module and an operator have.
const MADE: [&[&str]; 3] = [
    &["tls", "server", "vault.example.org"],
    &["tls", "module", "mod-a", "URI:spiffe://example.org/mod-a"],
    &["tls", "operator", "alice", "DNS:alice.example.org"],
];

fn certificates(dir: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    script("certificates.sh", dir, arguments)
}

fn all_certificates(dir: &Path) -> Result<String> {
    let mut all = String::new();
    for arguments in MADE {
        let (done, words) = certificates(dir, arguments)?;
        assert!(done, "{arguments:?}: {words}");
        all.push_str(&words);
    }
    Ok(all)
}

/// Whether a certificate is of a CA.
fn verifies(dir: &Path, ca: &str, certificate: &str) -> Result<bool> {
    Ok(said(Command::new("openssl").args(["verify", "-CAfile", ca, certificate]).current_dir(dir.join("tls")))?.0)
}

#[test]
fn certificates_are_kept_until_somebody_asks_for_new_ones() -> Result<()> {
    let dir = temporary()?;
    all_certificates(dir.path())?;
    let first = Tree::of(dir.path())?;
    assert_eq!(first.len(), 10);

    let words = all_certificates(dir.path())?;

    assert_same(&first, dir.path(), &words)?;
    assert_eq!(words.matches(": kept, it is there already; it holds until ").count(), 3, "{words}");
    let (done, words) = certificates(dir.path(), &["tls", "server", "elsewhere.example.org"])?;
    assert!(done && words.contains("warning: tls/server.pem is for DNS:vault.example.org"), "{words}");
    assert_same(&first, dir.path(), &words)?;
    let (done, words) = certificates(dir.path(), &["--renew", "tls", "server", "elsewhere.example.org"])?;
    assert!(done, "{words}");
    assert_eq!(first.changed(dir.path())?, ["server.key", "server.pem"]);
    assert!(verifies(dir.path(), "modules-ca.pem", "server.pem")?, "the CA is the one that modules know");
    Ok(())
}

#[test]
fn a_ca_is_never_replaced() -> Result<()> {
    let dir = temporary()?;
    all_certificates(dir.path())?;
    let tls = dir.path().join("tls");
    fs::copy(tls.join("mod-a.pem"), tls.join("in-use.pem"))?;
    // Its certificate is lost: the same key makes it again, and what it has signed goes on.
    fs::remove_file(tls.join("modules-ca.pem"))?;
    all_certificates(dir.path())?;
    for certificate in ["server.pem", "in-use.pem"] {
        assert!(verifies(dir.path(), "modules-ca.pem", certificate)?, "{certificate}");
    }
    // Its key is kept elsewhere, as the script advises: what is there stays, and nothing can be made.
    fs::rename(tls.join("modules-ca.key"), dir.path().join("elsewhere"))?;
    let first = Tree::of(dir.path())?;
    all_certificates(dir.path())?;
    let (done, words) = certificates(dir.path(), &["tls", "module", "mod-b", "DNS:mod-b.example.org"])?;
    assert!(!done && words.contains("tls/modules-ca.key is not here"), "{words}");
    assert_same(&first, dir.path(), &words)?;
    Ok(())
}

#[test]
fn a_certificate_of_ones_own_pki_is_never_replaced() -> Result<()> {
    let (dir, pki) = (temporary()?, temporary()?);
    all_certificates(pki.path())?;
    all_certificates(dir.path())?;
    for file in ["server.pem", "server.key"] {
        fs::copy(pki.path().join("tls").join(file), dir.path().join("tls").join(file))?;
    }
    let first = Tree::of(dir.path())?;

    all_certificates(dir.path())?;
    let (renewed, words) = certificates(dir.path(), &["--renew", "tls", "server", "vault.example.org"])?;

    assert!(!renewed && words.contains("is not replaced"), "{words}");
    assert_same(&first, dir.path(), &words)?;
    Ok(())
}

#[test]
fn a_first_run_that_was_broken_off_is_completed() -> Result<()> {
    let dir = temporary()?;
    all_certificates(dir.path())?;
    let tls = dir.path().join("tls");
    let key = fs::read(tls.join("mod-a.key"))?;
    fs::remove_file(tls.join("mod-a.pem"))?;

    all_certificates(dir.path())?;

    assert!(fs::read(tls.join("mod-a.key"))? == key, "a key that is there is the one to use");
    assert!(verifies(dir.path(), "modules-ca.pem", "mod-a.pem")?);
    // A renewal that was broken off between its key and its certificate.
    fs::copy(tls.join("alice.key"), tls.join("mod-a.key"))?;
    all_certificates(dir.path())?;
    let public = |arguments: &[&str]| said(Command::new("openssl").args(arguments).current_dir(&tls));
    let of_certificate = public(&["x509", "-in", "mod-a.pem", "-noout", "-pubkey"])?;
    assert_eq!(of_certificate, public(&["pkey", "-in", "mod-a.key", "-pubout"])?);
    Ok(())
}

/// A copy of `deploy`, prepared.
fn prepared() -> Result<(tempfile::TempDir, PathBuf)> {
    let dir = temporary()?;
    let copied = Command::new("cp").args(["-R", "."]).arg(dir.path()).current_dir(root().join("deploy")).status()?;
    assert!(copied.success());
    let compose = dir.path().join("compose");
    prepare(&compose)?;
    Ok((dir, compose))
}

fn prepare(compose: &Path) -> Result<String> {
    let (done, words) = said(&mut Command::new(compose.join("prepare.sh")))?;
    assert!(done, "{words}");
    Ok(words)
}

#[test]
fn preparing_the_containers_twice_keeps_what_was_changed_in_between() -> Result<()> {
    let (_dir, compose) = prepared()?;
    let edited = [
        ".env",
        "keycloak.env",
        "etc/policy.toml",
        "etc/tokenvault.toml",
        "etc/secrets/keyring.toml",
        "etc/tls/modules-ca.pem",
    ];
    for file in edited {
        edit(&compose.join(file))?;
    }
    let first = Tree::of(&compose)?;

    let words = prepare(&compose)?;

    assert_same(&first, &compose, &words)?;
    for file in edited {
        assert!(words.contains(&format!("{file}: kept")), "{file}: {words}");
    }
    Ok(())
}

#[test]
fn preparing_the_containers_again_makes_what_is_missing_and_nothing_else() -> Result<()> {
    let (_dir, compose) = prepared()?;
    let first = Tree::of(&compose)?;
    // Keycloak has imported the secret that is in keycloak.env.
    for file in ["etc/secrets/diku/client-secret", "etc/tls/server.key", "etc/policy.toml", "etc/tokenvault.toml"] {
        fs::remove_file(compose.join(file))?;

        prepare(&compose)?;

        assert_same(&first, &compose, &format!("without {file}"))?;
    }
    Ok(())
}
