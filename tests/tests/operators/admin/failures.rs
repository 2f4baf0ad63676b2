//! How commands fail: the words, and the exit status.

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::certs::TestCa;
use tokenvault_tests::harness::ports;

use crate::admin::stage::{Stage, nobody, said};
use crate::admin::transcripts::{Transcript, settings};

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_fail_has_its_words_and_its_status() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let tenant = stage.realm.name().to_owned();
    let proof = stage.login("alice").await?;
    stage.register("ended", &proof, serde_json::json!({})).await?;
    stage.register("other", &proof, serde_json::json!({})).await?;
    stage.admin(&["jobs", "revoke", &tenant, "ended"])?.done()?;
    let mut told = Transcript::of(&stage.realm)?;
    for arguments in [
        &["jobs", "show", &tenant, "no-such-job"][..],
        &["jobs", "revoke", &tenant, "no-such-job"],
        &["jobs", "renew", &tenant, "ended"],
        &["jobs", "renew", &tenant, "ended", "no-such-job", "--yes"],
        &["jobs", "revoke", &tenant, "ended", "other"],
        &["jobs", "show", "no.tenant", "job"],
        &["jobs", "list", "--tenant", "no-such-tenant"],
        &["jobs", "list", "--tenant", "no-such-tenant", "--output", "json"],
        &["jobs", "show", "no-such-tenant", "job"],
        &["jobs", "renew", "no-such-tenant", "job"],
        &["jobs", "revoke", "no-such-tenant", "job"],
        &["users", "revoke", "no-such-tenant", "no-such-user", "--yes"],
        &["jobs", "list", "--state", "asleep"],
        &["jobs", "list", "--expiring-before", "tomorrow"],
        &["users", "revoke", &tenant, "no-such-user", "--yes"],
        &["users", "revoke", &tenant, "no-such-user", "--yes", "--dry-run"],
        &["keys", "promote", "no-such-key"],
        &["reseal"],
        &["pause", "--for", "2d", "--reason", "too long"],
        &["pause", "--for", "10m"],
        &["events", "--after", "yesterday"],
    ] {
        told.add(arguments, &stage.admin(arguments)?);
    }
    let viewer = stage.vault.operator_certificate("view")?;
    told.note("who may only view");
    for arguments in
        [&["resume"][..], &["jobs", "revoke", &tenant, "other"], &["pause", "--for", "1", "--reason", "x", "--yes"]]
    {
        told.add(arguments, &stage.admin_as(&viewer, arguments)?);
    }
    settings().bind(|| insta::assert_snapshot!("failures", told.text()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_cannot_be_reached_is_told_apart_from_wrong_usage() -> Result<()> {
    let stage = Stage::set(600, 1).await?;
    let (ca, stranger) = (stage.vault.ca().cert_file(), TestCa::new()?);
    let operator = stage.vault.operator_certificate("operate")?;
    let foreign = stranger.client_uri("spiffe://test/operator-operate")?;
    let closed = format!("127.0.0.1:{}", ports::free()?);
    let mut vault = stage.vault;
    let open = vault.replica().admin_url();
    let call =
        |address: &str, ca: &std::path::Path, cert: &std::path::Path, key: &std::path::Path| -> Result<(i32, String)> {
            let mut command = nobody()?;
            command
                .args(["status", "--address", address, "--cacert"])
                .arg(ca)
                .arg("--cert")
                .arg(cert)
                .arg("--key")
                .arg(key);
            let said = said(&command.output()?)?;
            Ok((said.status, said.err))
        };
    let (status, err) = call(&closed, &ca, &operator.cert, &operator.key)?;
    assert!(status == 3 && err.contains("cannot be reached: Connection refused"), "{status} {err}");
    let (status, err) = call(&open, &stranger.cert_file(), &operator.cert, &operator.key)?;
    assert!(status == 3 && err.contains("cannot be reached: invalid peer certificate"), "{status} {err}");
    let (status, err) = call(&open, &ca, &foreign.cert, &foreign.key)?;
    assert!(status == 3 && err.contains("cannot be reached"), "{status} {err}");
    let (status, err) = call("http://127.0.0.1:1", &ca, &operator.cert, &operator.key)?;
    assert!(status == 2 && err.contains("it is https://HOST:PORT"), "{status} {err}");
    let (status, err) = call(&open, &ca, &operator.cert, &foreign.key)?;
    assert!(status == 2 && err.contains("--cert, --key"), "{status} {err}");
    let (status, err) = call(&open, &operator.key, &operator.cert, &operator.key)?;
    assert!(status == 2 && err.contains("--cacert"), "{status} {err}");
    let said = said(&nobody()?.arg("status").output()?)?;
    assert!(said.status == 2 && said.err.contains("--address is missing"), "{said:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_all_that_is_needed() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let operator = stage.vault.operator_certificate("view")?;
    let home = stage.vault.dir().join("home");
    let profiles = home.join(".config/tokenvault/profiles.toml");
    std::fs::create_dir_all(profiles.parent().unwrap_or(&home))?;
    let address = stage.vault.replica().admin_url();
    let text = format!(
        "[profile.test]\naddress = \"{address}\"\ncacert = \"{}\"\ncert = \"{}\"\nkey = \"{}\"\n",
        stage.vault.ca().cert_file().display(),
        operator.cert.display(),
        operator.key.display()
    );
    std::fs::write(&profiles, text)?;
    for arguments in [&["status"][..], &["status", "--profile", "test"]] {
        let output = nobody()?.env("HOME", &home).args(arguments).output()?;
        said(&output)?.done()?;
    }
    let other = nobody()?.env("HOME", &home).args(["status", "--profile", "production"]).output()?;
    assert_eq!(said(&other)?.status, 2);
    let named = nobody()?.arg("status").arg("--profile-file").arg(&profiles).output()?;
    said(&named)?.done()?;
    Ok(())
}
