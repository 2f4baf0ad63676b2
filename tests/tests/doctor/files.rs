//! The host and its files.

use std::fs;
use std::time::Duration;

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::certs::{Subject, TestCa, Validity};

use crate::stage::Stage;

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
async fn a_revocation_list_that_has_expired_is_a_hazard() -> Result<()> {
    let (mut stage, ca) = (Stage::without_keycloak().await?, TestCa::new()?);
    stage.set("server.client_ca_file", ca.cert_file().display().to_string());
    stage.set("server.client_crl_file", ca.publish_crl(&[], Validity::Expired)?.display().to_string());
    // The authority of these tests lives for a day.
    let accept = ["--accept", "certificate-expiry"];

    stage.examine(&accept)?.expect_only("crl-expiry", "has expired on", "publish a new list")?;

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

#[tokio::test(flavor = "multi_thread")]
async fn listeners_for_the_machinery_on_public_addresses_are_hazards() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("management.listen", "0.0.0.0:9080");
    stage.expect_only("management-public", "0.0.0.0:9080", "--accept management-public")?;
    stage.set("management.listen", "127.0.0.1:9080");
    for (key, file) in [("cert_file", "server.pem"), ("key_file", "server.key"), ("client_ca_file", "modules-ca.pem")] {
        stage.set(&format!("admin.{key}"), format!("tls/{file}"));
    }
    stage.set("admin.policy_file", "operators.toml");
    fs::write(
        stage.file("operators.toml"),
        "[[operator]]\nname = \"o\"\nuri_san = \"spiffe://test/o\"\nrole = \"view\"\n",
    )?;
    stage.set("admin.listen", "[::]:8444");
    stage.expect_only("admin-public", "[::]:8444", "--accept admin-public")
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_open_files_are_a_hazard() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    let found = stage.examine_after("ulimit -n 1024")?;
    found.expect_only("open-files", "1024 files may be open", "LimitNOFILE")
}
