//! Several realms in one run, who may run it, and what it prints for the vault's configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::realm::{VAULT, unique_name};
use tokenvault_tests::harness::setup_script::{FOLIO, said, script, setup};
use tokenvault_tests::harness::{Failure, Result};
use toml::Table;

/// What is printed for the vault's configuration.
fn configuration(printed: &[u8]) -> Result<Table> {
    let printed = String::from_utf8_lossy(printed);
    let begun = printed.find("# for the vault's configuration").ok_or_else(|| Failure::new("nothing is printed"))?;
    Ok(toml::from_str(&printed[begun..])?)
}

#[tokio::test]
async fn several_realms_are_set_up_in_one_run_and_one_that_fails_holds_up_no_other() -> Result<()> {
    let keycloak = keycloak().await?;
    let (first, second) = (FolioRealm::builder().create().await?, FolioRealm::builder().create().await?);
    let (dir, missing) = (tempfile::tempdir()?, unique_name());
    let secrets = format!("{}/{{tenant}}/client-secret", dir.path().display());
    let realms = ["--realm", first.name(), "--realm", &missing, "--realm", second.name()];
    let arguments = [&realms[..], &["--secret-file", &secrets, "--client", "{realm}-vault"]].concat();

    let run = setup(keycloak, &arguments, FOLIO)?;

    assert!(!run.status.success() && said(&run).contains(&format!("not set up: {missing}")), "{}", said(&run));
    let table = configuration(&run.stdout)?;
    for realm in [&first, &second] {
        let name = realm.name();
        let client = realm.admin().client(name, &format!("{name}-vault")).await?;
        let secret = dir.path().join(name).join("client-secret");
        assert_eq!(Some(fs::read_to_string(&secret)?.trim_end()), client["secret"].as_str());
        let expected = json!({
            "issuer": realm.issuer(),
            "client_id": format!("{name}-vault"),
            "client_secret_file": secret,
            "accepted_clients": [realm.login_client()],
            "user_id_claim": "user_id",
        });
        assert_eq!(serde_json::to_value(&table["tenants"][name])?, expected);
    }
    Ok(())
}

#[tokio::test]
async fn several_realms_share_no_secret() -> Result<()> {
    let run = setup(keycloak().await?, &["--realm", "one", "--realm", "two", "--secret-file", "/dev/null"], FOLIO)?;
    assert!(!run.status.success() && said(&run).contains("put {realm} into"), "{}", said(&run));
    Ok(())
}

#[tokio::test]
async fn an_address_by_which_keycloak_does_not_know_itself_is_the_base_url() -> Result<()> {
    let (keycloak, public) = (keycloak().await?, "https://keycloak.example.org");
    let realm = FolioRealm::builder().setting("attributes", json!({ "frontendUrl": public })).create().await?;

    let run = setup(keycloak, &["--realm", realm.name()], FOLIO)?;

    assert!(run.status.success(), "{}", said(&run));
    let tenant = configuration(&run.stdout)?["tenants"][realm.name()].clone();
    assert_eq!(tenant["issuer"].as_str(), Some(&*format!("{public}/realms/{}", realm.name())));
    assert_eq!(tenant["base_url"].as_str(), Some(&*format!("{}/realms/{}", keycloak.base_url(), realm.name())));
    Ok(())
}

/// A client of the realm whose service account holds roles of `realm-management`.
async fn administrator(realm: &FolioRealm, roles: &[&str]) -> Result<()> {
    let (admin, name) = (realm.admin(), realm.name());
    let client =
        json!({ "clientId": "realm-setup", "secret": "a secret of the test's", "serviceAccountsEnabled": true });
    admin.put_client(name, &client).await?;
    let id = |client: &Value| client["id"].as_str().unwrap_or_default().to_owned();
    let (client, management) =
        (admin.client(name, "realm-setup").await?, admin.client(name, "realm-management").await?);
    let path = format!("/{name}/clients/{}/service-account-user", id(&client));
    let (account, management) = (id(&admin.call(Method::GET, &path, None).await?), id(&management));
    let mut granted = Vec::new();
    for role in roles {
        let path = format!("/{name}/clients/{management}/roles/{role}");
        granted.push(admin.call(Method::GET, &path, None).await?);
    }
    let path = format!("/{name}/users/{account}/role-mappings/clients/{management}");
    admin.call(Method::POST, &path, Some(&json!(granted))).await.map(drop)
}

#[tokio::test]
async fn a_role_that_the_administrator_lacks_for_impersonation_leaves_the_realm_ready_for_exchange() -> Result<()> {
    let (keycloak, mut realm) = (keycloak().await?, FolioRealm::builder().create().await?);
    let dir = tempfile::tempdir()?;
    let [admin, own] = ["realm-setup", "own"].map(|name| dir.path().join(name));
    fs::write(&admin, "a secret of the test's")?;
    administrator(&realm, &["view-realm", "manage-clients", "view-users"]).await?;
    let common = [
        "--realm",
        realm.name(),
        "--admin-realm",
        "{realm}",
        "--admin-client",
        "realm-setup",
        "--impersonate",
        "--secret-file",
    ];
    let mut command = script(keycloak, &[&common[..], &[own.to_str().unwrap_or_default()], FOLIO].concat());

    let run = command.env("KEYCLOAK_ADMIN_CLIENT_SECRET_FILE", &admin).output()?;

    assert!(!run.status.success() && said(&run).contains("lacks a role"), "{}", said(&run));
    realm.learn_secret(VAULT, fs::read_to_string(&own)?.trim_end());
    let ui = realm.login(realm.user("second")?).await?;
    realm.exchange(&ui.access_token).await?;
    Ok(())
}

#[tokio::test]
async fn a_service_account_with_the_roles_that_the_readme_names_is_administrator_enough() -> Result<()> {
    let (keycloak, realm, dir) = (keycloak().await?, FolioRealm::builder().create().await?, tempfile::tempdir()?);
    let secret_file = dir.path().join("realm-setup");
    let run = |secret: &str, more: &[&str]| -> Result<_> {
        fs::write(&secret_file, secret)?;
        let common = ["--realm", realm.name(), "--admin-realm", "{realm}", "--admin-client", "realm-setup"];
        let mut command = script(keycloak, &[&common, more, FOLIO].concat());
        Ok(command.env("KEYCLOAK_ADMIN_CLIENT_SECRET_FILE", &secret_file).output()?)
    };
    administrator(&realm, &["view-realm", "manage-clients", "view-users"]).await?;
    let right = "a secret of the test's\n";

    let (wrong, plain, too_little) = (run("not the secret", &[])?, run(right, &[])?, run(right, &["--impersonate"])?);

    assert!(!wrong.status.success() && said(&wrong).contains("realm-setup could not log in"), "{}", said(&wrong));
    assert!(plain.status.success(), "{}", said(&plain));
    assert!(!too_little.status.success() && said(&too_little).contains("lacks a role"), "{}", said(&too_little));
    // What needs more comes last, and does not stop the rest.
    let unprotected =
        run(right, &["--protect-user-id", "--secret-file", &dir.path().join("own").display().to_string()])?;
    let told = said(&unprotected);
    assert!(!unprotected.status.success() && told.contains("users/profile: 403"), "{told}");
    assert!(configuration(&unprotected.stdout)?["tenants"][realm.name()].get("client_secret_file").is_some(), "{told}");
    administrator(&realm, &["manage-realm"]).await?;
    let protected = run(right, &["--protect-user-id"])?;
    assert!(
        protected.status.success() && said(&protected).contains("only administrators edit user_id"),
        "{}",
        said(&protected)
    );

    administrator(&realm, &["manage-users", "impersonation"]).await?;
    let whole = run(right, &["--impersonate"])?;
    assert!(
        whole.status.success() && said(&whole).contains("granted realm-management/impersonation"),
        "{}",
        said(&whole)
    );
    realm.admin().client(realm.name(), VAULT).await?;
    Ok(())
}

/// A directory with a `curl` and a `jq` that write down their arguments before they do their work.
fn witnesses(dir: &Path) -> Result<PathBuf> {
    let log = dir.join("arguments");
    for program in ["curl", "jq"] {
        let file = dir.join(program);
        let real = format!("PATH=${{PATH#*:}} exec {program} \"$@\"");
        fs::write(&file, format!("#!/bin/sh\nprintf '%s\\n' \"$@\" >>{}\n{real}\n", log.display()))?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    }
    Ok(log)
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the witnesses stand before the programs in the tests' own PATH")]
async fn no_secret_is_an_argument_of_any_program() -> Result<()> {
    let (keycloak, realm, dir) = (keycloak().await?, FolioRealm::builder().create().await?, tempfile::tempdir()?);
    administrator(&realm, &["view-realm", "manage-clients", "view-users"]).await?;
    let (log, [admin, own]) =
        (witnesses(dir.path())?, ["admin-secret", "vault-secret"].map(|name| dir.path().join(name)));
    fs::write(&admin, "a secret of the test's")?;
    fs::write(&own, "another of the test's")?;
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap_or_default());
    let arguments =
        ["--realm", realm.name(), "--admin-realm", "{realm}", "--admin-client", "realm-setup", "--secret-file"];
    let mut command = script(keycloak, &[&arguments[..], &[own.to_str().unwrap_or_default()], FOLIO].concat());

    let run = command.env("PATH", path).env("KEYCLOAK_ADMIN_CLIENT_SECRET_FILE", &admin).output()?;

    assert!(run.status.success() && said(&run).contains("took the secret from"), "{}", said(&run));
    let seen = fs::read_to_string(log)?;
    assert!(seen.contains("oidc-audience-mapper"), "what is no secret is seen");
    for secret in ["secret of the test", "another of the test", "eyJ"] {
        assert!(!seen.contains(secret), "{secret} is an argument");
        let quoted = secret.replace(' ', "%20");
        assert!(!seen.contains(&quoted), "{quoted} is an argument");
    }
    Ok(())
}
