//! The host and its files.

use std::fs;
use std::time::Duration;

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::certs::{Subject, TestCa, Validity};

use crate::doctor::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn secret_files_that_others_can_read_are_hazards() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    for (file, mode, who) in [
        ("keyring.toml", 0o644, "everybody on this machine may read"),
        ("client-secret", 0o606, "everybody on this machine may change"),
        ("tls/server.key", 0o660, "its whole group may change"),
    ] {
        stage.mode(file, mode)?;
        stage.expect_only("secret-mode", who, "chmod 600")?;
        stage.mode(file, 0o440)?;
        let found = stage.examine(&[])?;
        assert!(found.succeeded, "a group may read, as Kubernetes has it: {found}");
        stage.mode(file, 0o600)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_is_a_hazard_and_the_rest_is_examined() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    fs::remove_file(stage.file("client-secret"))?;

    let found = stage.examine(&[])?;

    found.expect_only("secrets", "cannot be read", "check-config")?;
    assert_eq!((found.verdict("keycloak"), found.verdict("tls-files")), ("not_checked", "fine"), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_its_certificates_is_a_hazard() -> Result<()> {
    let (stage, ca) = (Stage::without_keycloak().await?, TestCa::new()?);
    fs::copy(ca.server()?.key, stage.file("tls/server.key"))?;
    stage.expect_only("tls-files", "is not the key of the first certificate", "must be the first certificate's")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_has_expired_or_soon_will_is_a_hazard() -> Result<()> {
    let (mut stage, ca) = (Stage::without_keycloak().await?, TestCa::new()?);
    for (validity, finding) in
        [(Validity::Expired, "has expired on"), (Validity::For(Duration::from_hours(13 * 24)), "expires soon, on")]
    {
        let certificate = ca.issue(&Subject::server().validity(validity))?;
        stage.set("server.cert_file", certificate.cert.display().to_string());
        stage.set("server.key_file", certificate.key.display().to_string());
        stage.expect_only("certificate-expiry", finding, "have it renewed")?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_list_that_has_expired_or_soon_will_is_a_hazard() -> Result<()> {
    let (mut stage, ca) = (Stage::without_keycloak().await?, TestCa::new()?);
    stage.set("server.client_ca_file", ca.cert_file().display().to_string());
    stage.set("server.client_crl_file", ca.publish_crl(&[], Validity::Expired)?.display().to_string());
    // The authority of these tests lives for a day.
    let accept = ["--accept", "certificate-expiry"];

    stage.examine(&accept)?.expect_only("crl-expiry", "has expired on", "publish a new list")?;

    ca.publish_crl(&[], Validity::For(Duration::from_mins(30)))?;
    stage.examine(&accept)?.expect_only("crl-expiry", "expires soon, on", "publish a new list")?;

    ca.publish_crl(&[], Validity::Now)?;
    let found = stage.examine(&accept)?;
    assert!(found.succeeded, "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_for_tenants_that_are_not_there_is_a_hazard() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    let policy = fs::read_to_string(stage.file("policy.toml"))?.replace(stage.tenant_name(), "atlantis");
    fs::write(stage.file("policy.toml"), policy)?;
    stage.expect_only("policy", "mod-di in atlantis", "add a table [tenants.NAME]")
}

/// Opens the operators' listener, with what is sound.
fn operators(stage: &mut Stage) -> Result<()> {
    for (key, file) in [("cert_file", "server.pem"), ("key_file", "server.key"), ("client_ca_file", "modules-ca.pem")] {
        stage.set(&format!("admin.{key}"), format!("tls/{file}"));
    }
    stage.set("admin.policy_file", "operators.toml");
    let policy = "[[operator]]\nname = \"o\"\nuri_san = \"spiffe://test/o\"\nrole = \"view\"\n";
    Ok(fs::write(stage.file("operators.toml"), policy)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_listeners_files_are_looked_at_as_well() -> Result<()> {
    let (mut stage, ca) = (Stage::without_keycloak().await?, TestCa::new()?);
    let expired = ca.issue(&Subject::server().validity(Validity::Expired))?;
    operators(&mut stage)?;
    stage.set("idp.key_file", "tls/server.key");

    for section in ["admin", "idp"] {
        let (cert, key) = (format!("{section}.cert_file"), format!("{section}.key_file"));
        stage.set("idp.cert_file", "tls/server.pem");
        stage.set(&cert, expired.cert.display().to_string());
        stage.set(&key, expired.key.display().to_string());
        let found = stage.examine(&[])?;
        found.expect_only("certificate-expiry", "has expired on", "have it renewed")?;
        assert!(found.subject_of_the_hazard().starts_with(&cert), "{found}");

        stage.set(&cert, "tls/server.pem");
        let found = stage.examine(&[])?;
        found.expect_only("tls-files", "is not the key of the first certificate", "must be the first certificate's")?;
        assert_eq!(found.subject_of_the_hazard(), section);
        stage.set(&key, "tls/server.key");
    }

    stage.set("admin.client_ca_file", ca.cert_file().display().to_string());
    stage.set("admin.client_crl_file", ca.publish_crl(&[], Validity::Expired)?.display().to_string());
    // The authority of these tests lives for a day.
    let found = stage.examine(&["--accept", "certificate-expiry"])?;
    found.expect_only("crl-expiry", "has expired on", "publish a new list")?;
    assert!(found.subject_of_the_hazard().starts_with("admin.client_crl_file"), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_cannot_be_read_or_names_no_operator_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    let policy = fs::read_to_string(stage.file("policy.toml"))?;
    fs::write(stage.file("policy.toml"), "[[module]]\nname = \"mod-di\"\n")?;
    stage.expect_only("policy", "module", "deploy/policy.toml")?;
    fs::remove_file(stage.file("policy.toml"))?;
    stage.expect_only("policy", "cannot be read", "deploy/policy.toml")?;
    fs::write(stage.file("policy.toml"), policy)?;

    operators(&mut stage)?;
    assert_eq!(stage.examine(&[])?.verdict("admin-policy"), "fine");
    fs::write(stage.file("operators.toml"), "")?;
    stage.expect_only("admin-policy", "there is none", "deploy/admin-policy.toml")?;
    fs::write(stage.file("operators.toml"), "[[operator]]\nname = \"o\"\ncn = \"o\"\nrole = \"king\"\n")?;
    stage.expect_only("admin-policy", "role", "deploy/admin-policy.toml")?;
    fs::remove_file(stage.file("operators.toml"))?;
    stage.expect_only("admin-policy", "cannot be read", "deploy/admin-policy.toml")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_log_that_cannot_be_written_is_a_hazard_and_none_is_made() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.private("audit-hash-key", "0123456789abcdef0123456789abcdef")?;
    stage.set("audit.hash_key_file", "audit-hash-key");
    for (file, finding) in [("no/such/directory/audit.log", "No such file"), ("tls", "s a directory")] {
        stage.set("audit.file", file);
        stage.expect_only("audit-file", finding, "let the vault's user write there")?;
    }

    stage.set("audit.file", "audit.log");
    let found = stage.examine(&[])?;
    assert!(found.succeeded && found.verdict("audit-file") == "fine", "{found}");
    assert!(!stage.file("audit.log").exists(), "nothing is changed");
    fs::write(stage.file("audit.log"), "{}\n")?;
    assert_eq!(stage.examine(&[])?.verdict("audit-file"), "fine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_for_the_machinery_on_public_addresses_are_hazards() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("management.listen", "0.0.0.0:9080");
    stage.expect_only("management-public", "0.0.0.0:9080", "--accept management-public")?;
    stage.set("management.listen", "127.0.0.1:9080");
    operators(&mut stage)?;
    stage.set("admin.listen", "[::]:8444");
    stage.expect_only("admin-public", "[::]:8444", "--accept admin-public")
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_open_files_are_a_hazard() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    let found = stage.examine_after("ulimit -n 1024")?;
    found.expect_only("open-files", "1024 files may be open", "LimitNOFILE")
}
