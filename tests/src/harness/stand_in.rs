//! The embedded stand-in for Keycloak as a vault's identity provider: its lab realm's vault client, and a user who logs in.

use std::path::Path;

use serde_json::Value;

use super::Result;
use super::vault::VaultBuilder;

/// The vault's client in the stand-in's lab realm, and its secret.
pub const CLIENT: &str = "tokenvault";
/// Its secret.
pub const SECRET: &str = "tokenvault-secret";
/// The client that users log in with.
pub const LOGIN_CLIENT: &str = "login-app";
/// Its secret.
pub const LOGIN_SECRET: &str = "login-app-secret";

/// A vault with a realm of the stand-in's as its tenant; the file holds the secret of its client.
#[must_use]
pub fn tenant(vault: VaultBuilder, realm: &str, issuer: &str, secret_file: &Path) -> VaultBuilder {
    let key = |name: &str| format!("tenants.{realm}.{name}");
    vault
        .set(&key("issuer"), issuer)
        .set(&key("client_id"), CLIENT)
        .set(&key("client_secret_file"), secret_file.display().to_string())
        .set(&key("user_id_claim"), "user_id")
        .set(&key("accepted_clients"), vec![LOGIN_CLIENT])
}

/// Where a realm of the stand-in's gives tokens.
pub fn token_url(base_url: &str, realm: &str) -> String {
    format!("{base_url}/realms/{realm}/protocol/openid-connect/token")
}

/// What Alice gets when she logs in.
pub async fn log_in(base_url: &str, realm: &str) -> Result<Value> {
    let form = [
        ("grant_type", "password"),
        ("client_id", LOGIN_CLIENT),
        ("client_secret", LOGIN_SECRET),
        ("username", "alice"),
        ("password", "alice-password"),
        ("scope", "openid"),
    ];
    let http = reqwest::Client::builder().no_proxy().build()?;
    let answer = http.post(token_url(base_url, realm)).form(&form).send().await?.error_for_status()?;
    Ok(answer.json().await?)
}
