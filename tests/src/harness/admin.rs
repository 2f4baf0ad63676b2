//! The part of Keycloak's admin API that tests need. It must only ever touch the realm it is told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keycloak_double::RoleConfig;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Failure, Result};

/// The administrator's token lives 60 seconds.
const TOKEN_AGE: Duration = Duration::from_secs(30);
/// How often a call is made that Keycloak answers with 500, and the pause in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// An administrator. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    http: reqwest::Client,
    base_url: String,
    credentials: (String, String),
    token: Arc<Mutex<Option<(Instant, String)>>>,
}

impl Admin {
    pub(super) fn new(http: reqwest::Client, base_url: &str, credentials: (String, String)) -> Self {
        Self { http, base_url: base_url.to_owned(), credentials, token: Arc::default() }
    }

    /// The same administrator, who has to ask for a token first.
    pub(super) fn without_token(&self) -> Self {
        Self { token: Arc::default(), ..self.clone() }
    }

    /// A live token of the administrator's, fetched anew when the last one has aged.
    pub async fn token(&self) -> Result<String> {
        let mut kept = self.token.lock().await;
        if let Some((since, token)) = kept.as_ref()
            && since.elapsed() < TOKEN_AGE
        {
            return Ok(token.clone());
        }
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", &self.credentials.0),
            ("password", &self.credentials.1),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base_url);
        let answer: Value = self.http.post(url).form(&form).send().await?.error_for_status()?.json().await?;
        let token = answer["access_token"].as_str().ok_or_else(|| Failure::new("no access_token for the admin"))?;
        *kept = Some((Instant::now(), token.to_owned()));
        Ok(token.to_owned())
    }

    /// One call below `/admin/realms`; `path` starts with a slash. Null if the answer has no body.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let mut answer = self.send(&method, path, body).await?;
        for _ in 1..TRIES {
            if answer.0 != StatusCode::INTERNAL_SERVER_ERROR {
                break;
            }
            // Keycloak stumbles over its own caches at times, when many realms are changed at once; nothing was done.
            tokio::time::sleep(PAUSE).await;
            answer = self.send(&method, path, body).await?;
        }
        let (status, text) = answer;
        if !status.is_success() {
            return Err(Failure::new(format!("{method} {path}: {status} {text}")));
        }
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    async fn send(&self, method: &Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, String)> {
        let url = format!("{}/admin/realms{path}", self.base_url);
        let mut request = self.http.request(method.clone(), url).bearer_auth(self.token().await?);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        self.call(Method::GET, path, None).await
    }

    /// Creates a realm from its representation.
    pub async fn create_realm(&self, representation: &Value) -> Result<()> {
        self.call(Method::POST, "", Some(representation)).await.map(drop)
    }

    /// Deletes a realm; no error if it is gone.
    pub async fn delete_realm(&self, realm: &str) -> Result<()> {
        let url = format!("{}/admin/realms/{realm}", self.base_url);
        let answer = self.http.delete(url).bearer_auth(self.token().await?).send().await?;
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(()),
            _ => answer.error_for_status().map(drop).map_err(Failure::from),
        }
    }

    /// Changes the settings named in `patch` and leaves the others as they are.
    pub async fn update_realm(&self, realm: &str, patch: &Value) -> Result<()> {
        self.call(Method::PUT, &format!("/{realm}"), Some(patch)).await.map(drop)
    }

    /// A user's id, which is the `sub` of their tokens.
    pub async fn user_id(&self, realm: &str, username: &str) -> Result<String> {
        let users = self.get(&format!("/{realm}/users?exact=true&username={username}")).await?;
        id_of(&users[0], "user", username)
    }

    /// Creates a user from their representation and returns their id.
    pub async fn create_user(&self, realm: &str, representation: &Value) -> Result<String> {
        self.call(Method::POST, &format!("/{realm}/users"), Some(representation)).await?;
        self.user_id(realm, representation["username"].as_str().unwrap_or_default()).await
    }

    /// Deletes a user.
    pub async fn delete_user(&self, realm: &str, user_id: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("/{realm}/users/{user_id}"), None).await.map(drop)
    }

    /// Ends all sessions of a user.
    pub async fn logout_user(&self, realm: &str, user_id: &str) -> Result<()> {
        self.call(Method::POST, &format!("/{realm}/users/{user_id}/logout"), None).await.map(drop)
    }

    /// Enables or disables a user.
    pub async fn enable_user(&self, realm: &str, user_id: &str, enabled: bool) -> Result<()> {
        self.change_user(realm, user_id, |user| user["enabled"] = json!(enabled)).await
    }

    /// Changes a user's representation.
    pub async fn change_user(&self, realm: &str, user_id: &str, change: impl FnOnce(&mut Value)) -> Result<()> {
        let path = format!("/{realm}/users/{user_id}");
        let mut user = self.get(&path).await?;
        change(&mut user);
        self.call(Method::PUT, &path, Some(&user)).await.map(drop)
    }

    /// Gives a user a role.
    pub async fn grant_role(&self, realm: &str, user_id: &str, role: &RoleConfig) -> Result<()> {
        let (of, role) = self.role(realm, role).await?;
        let path = format!("/{realm}/users/{user_id}/role-mappings/{of}");
        self.call(Method::POST, &path, Some(&json!([role]))).await.map(drop)
    }

    /// Enters a role into the scope of a client without full scope.
    pub async fn map_scope(&self, realm: &str, client_id: &str, role: &RoleConfig) -> Result<()> {
        let client = self.client(realm, client_id).await?;
        let (of, role) = self.role(realm, role).await?;
        let path = format!("/{realm}/clients/{}/scope-mappings/{of}", client["id"].as_str().unwrap_or_default());
        self.call(Method::POST, &path, Some(&json!([role]))).await.map(drop)
    }

    /// A role's representation, and what paths to mappings of its kind end with.
    pub async fn role(&self, realm: &str, role: &RoleConfig) -> Result<(String, Value)> {
        match role {
            RoleConfig::Realm(name) => Ok(("realm".to_owned(), self.get(&format!("/{realm}/roles/{name}")).await?)),
            RoleConfig::Client(client, name) => {
                let client = self.client(realm, client).await?;
                let client = client["id"].as_str().unwrap_or_default();
                let role = self.get(&format!("/{realm}/clients/{client}/roles/{name}")).await?;
                Ok((format!("clients/{client}"), role))
            }
        }
    }

    /// Refuses every token of the realm issued before `unix_seconds` ("push not-before").
    pub async fn push_not_before(&self, realm: &str, unix_seconds: u64) -> Result<()> {
        self.update_realm(realm, &json!({ "notBefore": unix_seconds })).await?;
        self.call(Method::POST, &format!("/{realm}/push-revocation"), None).await.map(drop)
    }

    /// The user's sessions: `id` is the tokens' `sid`, `clients` its client sessions.
    pub async fn sessions(&self, realm: &str, user_id: &str) -> Result<Vec<Value>> {
        let sessions = self.get(&format!("/{realm}/users/{user_id}/sessions")).await?;
        Ok(sessions.as_array().cloned().unwrap_or_default())
    }

    /// Ends one session.
    pub async fn delete_session(&self, realm: &str, sid: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("/{realm}/sessions/{sid}"), None).await.map(drop)
    }

    /// A client's representation; `id` in it is Keycloak's own id.
    pub async fn client(&self, realm: &str, client_id: &str) -> Result<Value> {
        let clients = self.get(&format!("/{realm}/clients?clientId={client_id}")).await?;
        id_of(&clients[0], "client", client_id)?;
        Ok(clients[0].clone())
    }

    /// Creates a client, or replaces the one of that `clientId`.
    pub async fn put_client(&self, realm: &str, representation: &Value) -> Result<()> {
        let client_id = representation["clientId"].as_str().unwrap_or_default();
        match self.client(realm, client_id).await {
            Ok(present) => {
                let path = format!("/{realm}/clients/{}", present["id"].as_str().unwrap_or_default());
                self.call(Method::PUT, &path, Some(representation)).await.map(drop)
            }
            Err(_) => self.call(Method::POST, &format!("/{realm}/clients"), Some(representation)).await.map(drop),
        }
    }

    /// Sets one attribute of a client, such as `backchannel.logout.url`.
    pub async fn set_client_attribute(&self, realm: &str, client_id: &str, name: &str, value: &str) -> Result<()> {
        let mut client = self.client(realm, client_id).await?;
        client["attributes"][name] = json!(value);
        self.put_client(realm, &client).await
    }

    /// Adds a protocol mapper to a client.
    pub async fn add_mapper(&self, realm: &str, client_id: &str, mapper: &Value) -> Result<()> {
        let client = self.client(realm, client_id).await?;
        let path = format!("/{realm}/clients/{}/protocol-mappers/models", client["id"].as_str().unwrap_or_default());
        self.call(Method::POST, &path, Some(mapper)).await.map(drop)
    }

    /// Gives the service account of `client_id` the role `realm-management/impersonation`.
    pub async fn grant_impersonation(&self, realm: &str, client_id: &str) -> Result<()> {
        let (path, role) = self.impersonation_mapping(realm, client_id).await?;
        self.call(Method::POST, &path, Some(&json!([role]))).await.map(drop)
    }

    /// Takes that role away.
    pub async fn withdraw_impersonation(&self, realm: &str, client_id: &str) -> Result<()> {
        let (path, role) = self.impersonation_mapping(realm, client_id).await?;
        self.call(Method::DELETE, &path, Some(&json!([role]))).await.map(drop)
    }

    async fn impersonation_mapping(&self, realm: &str, client_id: &str) -> Result<(String, Value)> {
        let client = self.client(realm, client_id).await?;
        let client = id_of(&client, "client", client_id)?;
        let account = self.get(&format!("/{realm}/clients/{client}/service-account-user")).await?;
        let account = id_of(&account, "service account of", client_id)?;
        let management = self.client(realm, "realm-management").await?;
        let management = id_of(&management, "client", "realm-management")?;
        let role = self.get(&format!("/{realm}/clients/{management}/roles/impersonation")).await?;
        Ok((format!("/{realm}/users/{account}/role-mappings/clients/{management}"), role))
    }
}

fn id_of(representation: &Value, kind: &str, name: &str) -> Result<String> {
    let id = representation["id"].as_str();
    id.map(str::to_owned).ok_or_else(|| Failure::new(format!("Keycloak knows no {kind} {name}")))
}
