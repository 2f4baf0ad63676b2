//! What deploy/keycloak offers to operators works on real Keycloak.

mod claims;
mod folio;
mod realms;
mod secrets;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::keycloak::{Keycloak, keycloak};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, VAULT, unique_name};
use tokenvault_tests::harness::setup_script::{self, deploy, said};

/// What a run changed.
fn changes(run: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    said.lines().filter_map(|line| line.strip_prefix("  ")).map(str::to_owned).collect()
}

/// A realm that knows nothing of the vault yet.
async fn untouched_realm(keycloak: &Keycloak) -> Result<LabRealm> {
    let representation = json!({
        "realm": unique_name(),
        "enabled": true,
        "revokeRefreshToken": true,
        "clients": [{
            "clientId": LOGIN_APP,
            "secret": "a secret of the test's",
            "directAccessGrantsEnabled": true,
        }],
        "users": [{
            "username": "alice",
            "enabled": true,
            "email": "alice@example.org",
            "firstName": "Alice",
            "lastName": "Lab",
            "attributes": { "user_id": ["8b0e0858-2ed3-4da6-90cc-c6e92f3cfae0"] },
            "credentials": [{ "type": "password", "value": "a password of the test's" }],
        }],
    });
    LabRealm::from_representation(keycloak, representation).await
}

fn setup(keycloak: &Keycloak, realm: &LabRealm, secret_file: &Path, more: &[&str]) -> Result<Output> {
    let password_file = secret_file.with_extension("admin");
    std::fs::write(&password_file, keycloak.admin_password())?;
    let mut command = setup_script::script(keycloak, &["--realm", realm.name(), "--ui-client", LOGIN_APP]);
    command.args(["--user-id-claim", "user_id", "--secret-file"]).arg(secret_file).args(more);
    command.env("KEYCLOAK_ADMIN", keycloak.admin_user()).env("KEYCLOAK_ADMIN_PASSWORD_FILE", &password_file);
    Ok(command.output()?)
}

#[tokio::test]
async fn the_script_makes_a_realm_ready_and_is_content_the_second_time() -> Result<()> {
    let keycloak = keycloak().await?;
    let mut realm = untouched_realm(keycloak).await?;
    let dir = tempfile::tempdir()?;
    let secret_file = dir.path().join("secret");

    let first = setup(keycloak, &realm, &secret_file, &["--impersonate"])?;
    assert!(first.status.success(), "{}", said(&first));
    let second = setup(keycloak, &realm, &secret_file, &["--impersonate"])?;

    assert!(second.status.success(), "{}", said(&second));
    assert!(changes(&second).is_empty(), "the second run changed something: {:?}", changes(&second));
    assert_eq!(std::fs::metadata(&secret_file)?.permissions().mode() & 0o777, 0o600);
    realm.learn_secret(VAULT, std::fs::read_to_string(&secret_file)?.trim_end());
    let tokens = realm.login("alice").await?;
    let pair = realm.exchange(&tokens.access_token).await?;
    assert_eq!(pair.sid(), tokens.sid());
    assert_eq!(pair.claim("user_id"), realm.user("alice")?.user_id);
    let own = realm.impersonate(&realm.user("alice")?.sub).await?;
    assert_ne!(own.sid(), tokens.sid());
    Ok(())
}

#[tokio::test]
async fn the_script_repairs_what_was_changed_by_hand() -> Result<()> {
    let keycloak = keycloak().await?;
    let mut realm = untouched_realm(keycloak).await?;
    let dir = tempfile::tempdir()?;
    let secret_file = dir.path().join("secret");
    assert!(setup(keycloak, &realm, &secret_file, &[])?.status.success());
    realm.learn_secret(VAULT, std::fs::read_to_string(&secret_file)?.trim_end());
    let refresh = "standard.token.exchange.enableRefreshRequestedTokenType";
    realm.admin().set_client_attribute(realm.name(), VAULT, refresh, "NO").await?;
    let tokens = realm.login("alice").await?;
    assert!(realm.exchange(&tokens.access_token).await.is_err());

    let repair = setup(keycloak, &realm, &secret_file, &[])?;

    assert!(repair.status.success() && said(&repair).contains("corrected"), "{}", said(&repair));
    realm.exchange(&tokens.access_token).await?;
    Ok(())
}

#[tokio::test]
async fn the_script_tells_keycloak_where_to_announce_logouts_and_forgets_it_in_no_later_run() -> Result<()> {
    let keycloak = keycloak().await?;
    let realm = untouched_realm(keycloak).await?;
    let dir = tempfile::tempdir()?;
    let secret_file = dir.path().join("secret");
    for more in [&["--backchannel-url", "https://vault.example.org:8445/"][..], &[]] {
        let run = setup(keycloak, &realm, &secret_file, more)?;
        assert!(run.status.success(), "{}", said(&run));
        let client = realm.admin().client(realm.name(), VAULT).await?;
        let url = format!("https://vault.example.org:8445/backchannel-logout/{}", realm.name());
        assert_eq!(client["attributes"]["backchannel.logout.url"], json!(url), "{more:?}");
        assert_eq!(client["attributes"]["backchannel.logout.session.required"], json!("true"));
    }
    Ok(())
}

#[tokio::test]
async fn the_script_tells_what_is_wrong() -> Result<()> {
    let keycloak = keycloak().await?;
    let mut command = setup_script::script(keycloak, &["--realm", "there-is-no-such-realm"]);
    command.env("KEYCLOAK_ADMIN", keycloak.admin_user());

    let without_password = command.output()?;
    let wrong_password = command.env("KEYCLOAK_ADMIN_PASSWORD", "wrong").output()?;
    let wrong_realm = command.env("KEYCLOAK_ADMIN_PASSWORD", keycloak.admin_password()).output()?;

    for (output, reason) in
        [(without_password, "KEYCLOAK_ADMIN_PASSWORD_FILE"), (wrong_password, "could not log in"), (wrong_realm, "404")]
    {
        assert!(!output.status.success() && said(&output).contains(reason), "{}", said(&output));
    }
    Ok(())
}

#[tokio::test]
async fn the_example_realm_can_exchange_and_impersonate_and_is_as_the_script_makes_it() -> Result<()> {
    let keycloak = keycloak().await?;
    let (name, password) = (unique_name(), unique_name());
    let mut text = std::fs::read_to_string(deploy("realm.json"))?.replace("diku", &name);
    for (placeholder, value) in
        [("LOGIN_APP_SECRET", &unique_name()), ("TOKENVAULT_SECRET", &unique_name()), ("ALICE_PASSWORD", &password)]
    {
        let replaced = text.replace(&format!("${{{placeholder}}}"), value);
        assert_ne!(replaced, text, "{placeholder} is not in realm.json");
        text = replaced;
    }

    let realm = LabRealm::from_representation(keycloak, serde_json::from_str::<Value>(&text)?).await?;

    let (alice, ui) = (realm.user("alice")?, format!("{name}-login-application"));
    let form = [("grant_type", "password"), ("username", "alice"), ("password", &password), ("scope", "openid")];
    let tokens = realm.token(&ui, &form).await?;
    assert_eq!(tokens.claim("sub"), "alice", "it is in FOLIO's shape");
    let pair = realm.exchange(&tokens.access_token).await?;
    assert_eq!([pair.claim("user_id"), pair.claim("keycloak_user_id")], [&*alice.user_id, &*alice.sub]);
    let own = realm.impersonate(&alice.sub).await?;
    assert_eq!([own.claim("user_id"), own.claim("keycloak_user_id")], [&*alice.user_id, &*alice.sub]);
    let run =
        setup_script::setup(keycloak, &["--realm", &name, "--impersonate", "--protect-user-id"], setup_script::FOLIO)?;
    assert!(run.status.success() && changes(&run).is_empty(), "{}", said(&run));
    Ok(())
}
