//! The demonstration's realm in a real Keycloak, made and deleted through its admin REST API. It must touch no other realm.

use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_core::secret::ClientSecret;

use super::error::DemoError;
use super::realm::{DemoRealm, VAULT_CLIENT};
use super::settings::KeycloakAccess;

/// Keycloak's administrator, and the realm that was made.
pub(super) struct Provisioned {
    http: reqwest::Client,
    access: KeycloakAccess,
    realm: Arc<DemoRealm>,
}

impl Provisioned {
    /// Makes the realm. What cannot be finished is deleted again.
    pub(super) async fn create(
        http: reqwest::Client,
        access: KeycloakAccess,
        realm: Arc<DemoRealm>,
    ) -> Result<Self, DemoError> {
        let made = Self { http, access, realm };
        let token = made.token().await?;
        made.call(&token, Method::POST, "", Some(&made.realm.representation())).await?;
        match made.grant_impersonation(&token).await {
            Ok(()) => Ok(made),
            Err(error) => {
                // The first error is the one to report.
                drop(made.delete().await);
                Err(error)
            }
        }
    }

    /// Deletes the realm with everything in it.
    pub(super) async fn delete(&self) -> Result<(), DemoError> {
        let token = self.token().await?;
        self.call(&token, Method::DELETE, &format!("/{}", self.realm.name), None).await.map(drop)
    }

    /// Where Keycloak is.
    pub(super) fn base_url(&self) -> &str {
        self.access.url.as_str().trim_end_matches('/')
    }

    /// An administrator's token lives a minute: each act gets its own.
    async fn token(&self) -> Result<ClientSecret, DemoError> {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", &self.access.admin),
            ("password", self.access.password.expose()),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base_url());
        let what = format!("cannot log in at Keycloak as {}", self.access.admin);
        let answer = self.http.post(url).form(&form).send().await.map_err(DemoError::unreachable(&what))?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        match body["access_token"].as_str() {
            Some(token) if status.is_success() => Ok(ClientSecret::new(token)),
            _ => Err(DemoError::refused(what, status.as_u16(), &body)),
        }
    }

    /// One call below `/admin/realms`; `path` starts with a slash.
    async fn call(
        &self,
        token: &ClientSecret,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, DemoError> {
        let what = format!("Keycloak's admin API, {method} {path}");
        let url = format!("{}/admin/realms{path}", self.base_url());
        let mut request = self.http.request(method, url).bearer_auth(token.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(DemoError::unreachable(&what))?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() { Ok(body) } else { Err(DemoError::refused(what, status.as_u16(), &body)) }
    }

    async fn client(&self, token: &ClientSecret, client_id: &str) -> Result<String, DemoError> {
        let path = format!("/{}/clients?clientId={client_id}", self.realm.name);
        Ok(id(&self.call(token, Method::GET, &path, None).await?[0]))
    }

    /// Lets the vault's service account open sessions for users.
    async fn grant_impersonation(&self, token: &ClientSecret) -> Result<(), DemoError> {
        let realm = &self.realm.name;
        let vault = self.client(token, VAULT_CLIENT).await?;
        let management = self.client(token, "realm-management").await?;
        let account = format!("/{realm}/clients/{vault}/service-account-user");
        let account = id(&self.call(token, Method::GET, &account, None).await?);
        let role = format!("/{realm}/clients/{management}/roles/impersonation");
        let role = self.call(token, Method::GET, &role, None).await?;
        let mapping = format!("/{realm}/users/{account}/role-mappings/clients/{management}");
        self.call(token, Method::POST, &mapping, Some(&json!([role]))).await.map(drop)
    }
}

fn id(representation: &Value) -> String {
    representation["id"].as_str().unwrap_or_default().to_owned()
}
