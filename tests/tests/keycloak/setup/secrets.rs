//! The vault's client secret: whatever the file and Keycloak hold, nobody can use the client without one, and the vault reads
//! what Keycloak has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::setup_script::{FOLIO, said, script, setup};

async fn run(realm: &FolioRealm, secret_file: &Path) -> Result<Output> {
    let secret_file = secret_file.display().to_string();
    setup(keycloak().await?, &["--realm", realm.name(), "--secret-file", &secret_file], FOLIO)
}

async fn client(realm: &FolioRealm) -> Result<Value> {
    realm.admin().client(realm.name(), VAULT).await
}

async fn change(realm: &FolioRealm, member: &str, value: &str) -> Result<()> {
    let mut client = client(realm).await?;
    client[member] = json!(value);
    realm.admin().put_client(realm.name(), &client).await
}

#[tokio::test]
async fn a_file_that_holds_no_secret_is_refused() -> Result<()> {
    let (realm, dir) = (FolioRealm::builder().create().await?, tempfile::tempdir()?);
    let file = dir.path().join("secret");
    for nothing in ["\n", "\r\n", "\r", "\n\n", " \t\n"] {
        fs::write(&file, nothing)?;

        let run = run(&realm, &file).await?;

        assert!(!run.status.success() && said(&run).contains("there is no secret in"), "{nothing:?}: {}", said(&run));
        let secret = client(&realm).await?["secret"].clone();
        assert!(secret.as_str().is_some_and(|secret| secret.len() > 20), "{nothing:?}: Keycloak's own stays: {secret}");
    }
    Ok(())
}

#[tokio::test]
async fn a_secret_is_read_as_the_vault_reads_it() -> Result<()> {
    let (realm, dir) = (FolioRealm::builder().create().await?, tempfile::tempdir()?);
    let file = dir.path().join("secret");
    for (written, secret) in
        [("plain", "plain"), ("unix\n", "unix"), ("of Windows\r\n", "of Windows"), ("two\n\n", "two\n")]
    {
        fs::write(&file, written)?;

        let run = run(&realm, &file).await?;

        assert!(run.status.success() && said(&run).contains("took the secret from"), "{written:?}: {}", said(&run));
        assert_eq!(client(&realm).await?["secret"], json!(secret), "{written:?}");
    }
    Ok(())
}

#[tokio::test]
async fn an_empty_secret_at_keycloak_is_replaced_and_its_file_is_private_whatever_was_there() -> Result<()> {
    let (realm, dir) = (FolioRealm::builder().create().await?, tempfile::tempdir()?);
    let file = dir.path().join("secret");
    assert!(run(&realm, &file).await?.status.success());
    change(&realm, "secret", "").await?;
    fs::write(&file, "")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;

    let repair = run(&realm, &file).await?;

    assert!(repair.status.success() && said(&repair).contains("had an empty secret"), "{}", said(&repair));
    let secret = fs::read_to_string(&file)?;
    assert!(secret.len() > 20, "Keycloak has made a new one");
    assert_eq!(client(&realm).await?["secret"].as_str(), Some(secret.trim_end()));
    assert_eq!(fs::metadata(&file)?.permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(dir.path())?.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    assert_eq!(left, ["secret"], "the temporary file is gone");
    Ok(())
}

#[tokio::test]
async fn a_client_with_a_secret_file_proves_itself_by_that_secret() -> Result<()> {
    let (mut realm, dir) = (FolioRealm::builder().create().await?, tempfile::tempdir()?);
    let file = dir.path().join("secret");
    assert!(run(&realm, &file).await?.status.success());
    for kind in ["client-jwt", "client-x509", "client-secret-jwt"] {
        change(&realm, "clientAuthenticatorType", kind).await?;

        let repair = run(&realm, &file).await?;

        let told = said(&repair);
        assert!(repair.status.success() && told.contains("corrected clientAuthenticatorType"), "{kind}: {told}");
        realm.learn_secret(VAULT, fs::read_to_string(&file)?.trim_end());
        realm.service_token(VAULT).await?;
    }

    // Without the option the client may have a key.
    change(&realm, "clientAuthenticatorType", "client-jwt").await?;
    assert!(setup(keycloak().await?, &["--realm", realm.name()], FOLIO)?.status.success());
    assert_eq!(client(&realm).await?["clientAuthenticatorType"], json!("client-jwt"));
    Ok(())
}

#[tokio::test]
async fn what_is_printed_for_the_configuration_names_the_file_wherever_the_script_ran() -> Result<()> {
    let (keycloak, realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let dir = tempfile::tempdir()?;
    let mut command = script(keycloak, &["--realm", realm.name(), "--secret-file", "secrets/{realm}"]);
    command.current_dir(dir.path());
    command.env("KEYCLOAK_ADMIN", keycloak.admin_user()).env("KEYCLOAK_ADMIN_PASSWORD", keycloak.admin_password());

    let run = command.output()?;

    let file = dir.path().canonicalize()?.join("secrets").join(realm.name());
    assert!(run.status.success() && file.is_file(), "{}", said(&run));
    assert!(said(&run).contains(&format!("client_secret_file = \"{}\"", file.display())), "{}", said(&run));
    Ok(())
}
