//! `deploy/keycloak/setup.sh`, run as an operator would run it.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::keycloak::Keycloak;
use super::realm::{LabRealm, VAULT};
use super::{Result, root};

/// What FOLIO's operators give it, beside the realm.
pub const FOLIO: &[&str] = &["--ui-client", "{realm}-login-application", "--user-id-claim", "user_id"];

/// A file of deploy/keycloak.
pub fn deploy(file: &str) -> PathBuf {
    root().join("deploy/keycloak").join(file)
}

/// The script on this Keycloak; who the administrator is has to be added.
pub fn script(keycloak: &Keycloak, arguments: &[&str]) -> Command {
    let mut command = Command::new(deploy("setup.sh"));
    command.args(["--url", keycloak.base_url()]).args(arguments);
    command.env_remove("KEYCLOAK_ADMIN_PASSWORD").env_remove("KEYCLOAK_ADMIN_PASSWORD_FILE");
    command
}

/// The script, run by the administrator, with the arguments of both lists.
pub fn setup(keycloak: &Keycloak, common: &[&str], more: &[&str]) -> Result<Output> {
    let mut command = script(keycloak, &[common, more].concat());
    command.env("KEYCLOAK_ADMIN", keycloak.admin_user()).env("KEYCLOAK_ADMIN_PASSWORD", keycloak.admin_password());
    Ok(command.output()?)
}

/// All it said.
pub fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What the script of an earlier version made: full scope on the vault's client, and mappers that lightweight tokens ignore.
pub async fn long_ago(realm: &LabRealm, ui: &str) -> Result<()> {
    let mapper = |name: &str, kind: &str, mut config: Value| {
        config["access.token.claim"] = json!("true");
        config["introspection.token.claim"] = json!("true");
        json!({ "name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": config })
    };
    let audience = mapper("audience tokenvault", "oidc-audience-mapper", json!({ "included.client.audience": VAULT }));
    let attribute = json!({ "user.attribute": "user_id", "claim.name": "user_id", "jsonType.label": "String" });
    let user_id = mapper("user_id", "oidc-usermodel-attribute-mapper", attribute);
    let client = json!({
        "clientId": VAULT,
        "secret": "a secret of long ago",
        "standardFlowEnabled": false,
        "serviceAccountsEnabled": true,
        "attributes": {
            "standard.token.exchange.enabled": "true",
            "standard.token.exchange.enableRefreshRequestedTokenType": "SAME_SESSION",
        },
        "protocolMappers": [audience, user_id],
    });
    realm.admin().put_client(realm.name(), &client).await?;
    realm.admin().grant_impersonation(realm.name(), VAULT).await?;
    for mapper in [&audience, &user_id] {
        realm.admin().add_mapper(realm.name(), ui, mapper).await?;
    }
    Ok(())
}
