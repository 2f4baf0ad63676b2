//! A realm of the test's own in real Keycloak, set up as FOLIO's are, with the token calls a UI, a module and the vault
//! make. Only this module may know the realm's secrets and passwords, and none of them is ever printed.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value, json};

use super::admin::Admin;
use super::keycloak::{Keycloak, http_client, keycloak};
pub(super) use super::representation::random_text;
pub use super::tokens::{TokenError, Tokens, claims};
use super::{Failure, Result, representation};

/// The UI's client: users log in with it, and its access tokens name the vault as audience.
pub const LOGIN_APP: &str = "login-app";
/// The vault's client: standard token exchange into the user's session, service account for impersonation.
pub const VAULT: &str = "tokenvault";
/// A module's client, which may introspect.
pub const MODULE: &str = "module";

/// RFC 8693 §3.
pub const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// RFC 8693 §3.
pub const REFRESH_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:refresh_token";
/// RFC 8693 §2.1.
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A user of the realm. `Debug` shows no password.
#[derive(Clone)]
pub struct LabUser {
    /// The name they log in with.
    pub username: String,
    /// Keycloak's id, the tokens' `sub`.
    pub sub: String,
    /// The attribute that FOLIO knows them by, a UUID other than `sub`.
    pub user_id: String,
    password: String,
}

impl LabUser {
    /// From what Keycloak was given, and the id that it gave.
    pub(super) fn from_representation(user: &Value, sub: String) -> Self {
        let (user_id, password) = (text(&user["attributes"]["user_id"][0]), text(&user["credentials"][0]["value"]));
        Self { username: text(&user["username"]), sub, user_id, password }
    }

    pub(super) fn password(&self) -> &str {
        &self.password
    }
}

impl fmt::Debug for LabUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { username, sub, user_id, .. } = self;
        write!(f, "LabUser({username}, sub {sub}, user_id {user_id})")
    }
}

/// How the realm is set up; made by [`LabRealm::builder`].
#[derive(Debug, Clone)]
pub struct LabRealmBuilder {
    name: String,
    settings: Map<String, Value>,
    impersonation: bool,
    users: Vec<String>,
}

impl LabRealmBuilder {
    /// The access token's life in seconds.
    #[must_use]
    pub fn at_ttl(self, seconds: u64) -> Self {
        self.setting("accessTokenLifespan", seconds)
    }

    /// How long a session may idle, in seconds.
    #[must_use]
    pub fn idle(self, seconds: u64) -> Self {
        self.setting("ssoSessionIdleTimeout", seconds)
    }

    /// How long a session may last, in seconds.
    #[must_use]
    pub fn max(self, seconds: u64) -> Self {
        self.setting("ssoSessionMaxLifespan", seconds)
    }

    /// Whether a refresh token may be used only once (FOLIO: yes).
    #[must_use]
    pub fn rotation(self, revoke_refresh_token: bool) -> Self {
        self.setting("revokeRefreshToken", revoke_refresh_token)
    }

    /// How often a refresh token may be used again.
    #[must_use]
    pub fn max_reuse(self, times: u64) -> Self {
        self.setting("refreshTokenMaxReuse", times)
    }

    /// Any other member of the realm's representation.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves the vault's service account without the impersonation role.
    #[must_use]
    pub fn without_impersonation(mut self) -> Self {
        self.impersonation = false;
        self
    }

    /// One more user beside alice and bob.
    #[must_use]
    pub fn user(mut self, username: &str) -> Self {
        self.users.push(username.to_owned());
        self
    }

    /// Creates it in the shared Keycloak.
    pub async fn create(self) -> Result<LabRealm> {
        self.create_in(keycloak().await?).await
    }

    /// Creates it in the given Keycloak.
    pub async fn create_in(self, keycloak: &Keycloak) -> Result<LabRealm> {
        let realm = LabRealm::from_representation(keycloak, self.representation(keycloak.base_url())).await?;
        if self.impersonation {
            realm.admin.grant_impersonation(&realm.name, VAULT).await?;
        }
        Ok(realm)
    }

    fn representation(&self, base_url: &str) -> Value {
        let mut realm = json!({
            "realm": self.name,
            "enabled": true,
            "sslRequired": "none",
            "revokeRefreshToken": true,
            "refreshTokenMaxReuse": 0,
            "accessTokenLifespan": 600,
            "ssoSessionIdleTimeout": 86_400,
            "ssoSessionMaxLifespan": 86_400,
            // `iss` stays the same when Keycloak is reached through a proxy.
            "attributes": { "frontendUrl": base_url },
            "clients": representation::clients(),
            "users": self.users.iter().map(|name| representation::user(name)).collect::<Vec<_>>(),
            "passwordPolicy": representation::CHEAP_PASSWORDS,
            "components": representation::components(),
        });
        for (name, value) in &self.settings {
            realm[name] = value.clone();
        }
        realm
    }
}

/// A realm of the test's own; deleted when dropped.
pub struct LabRealm {
    owned: bool,
    name: String,
    issuer: String,
    base_url: String,
    secrets: BTreeMap<String, String>,
    users: Vec<LabUser>,
    http: reqwest::Client,
    admin: Admin,
}

impl LabRealm {
    /// As FOLIO has it: rotation without reuse, access tokens of 10 minutes, sessions of 24 hours; users alice and bob.
    pub fn builder() -> LabRealmBuilder {
        LabRealmBuilder {
            name: unique_name(),
            settings: Map::new(),
            impersonation: true,
            users: vec!["alice".to_owned(), "bob".to_owned()],
        }
    }

    /// Creates a realm from any representation; secrets and passwords are learnt from it. Mind that its name be unique.
    pub async fn from_representation(keycloak: &Keycloak, mut representation: Value) -> Result<Self> {
        let admin = keycloak.admin();
        representation::give_default_roles(&mut representation);
        admin.create_realm(&representation).await?;
        let name = text(&representation["realm"]);
        let clients = representation["clients"].as_array().into_iter().flatten();
        // Made before anything else can fail, so that its drop deletes the realm.
        let mut realm = Self {
            owned: true,
            issuer: keycloak.issuer(&name),
            base_url: keycloak.base_url().to_owned(),
            name,
            secrets: clients.map(|client| (text(&client["clientId"]), text(&client["secret"]))).collect(),
            users: Vec::new(),
            http: http_client()?,
            admin,
        };
        let users = representation["users"].as_array().into_iter().flatten();
        for user in users.filter(|user| !user["credentials"].is_null()) {
            let sub = realm.admin.user_id(&realm.name, user["username"].as_str().unwrap_or_default()).await?;
            realm.users.push(LabUser::from_representation(user, sub));
        }
        Ok(realm)
    }

    /// The same realm with its token calls sent to another address, such as a [`super::proxy::Proxy`]'s. It does not
    /// delete the realm.
    #[must_use]
    pub fn through(&self, base_url: &str) -> Self {
        Self {
            owned: false,
            name: self.name.clone(),
            issuer: format!("{base_url}/realms/{}", self.name),
            base_url: base_url.to_owned(),
            secrets: self.secrets.clone(),
            users: self.users.clone(),
            http: self.http.clone(),
            admin: self.admin.clone(),
        }
    }

    /// The realm's name, which is the tenant's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `iss` of its tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Keycloak's address.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    pub(super) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The admin API; pass it [`Self::name`].
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Where tokens are asked for.
    pub fn token_endpoint(&self) -> String {
        self.endpoint("token")
    }

    /// A client's secret; empty for a client the realm was not made with.
    pub fn secret(&self, client: &str) -> &str {
        self.secrets.get(client).map_or("", String::as_str)
    }

    /// Tells the secret of a client that was made or changed after the realm was.
    pub fn learn_secret(&mut self, client: &str, secret: &str) {
        self.secrets.insert(client.to_owned(), secret.to_owned());
    }

    /// A user of the realm.
    pub fn user(&self, username: &str) -> Result<&LabUser> {
        let found = self.users.iter().find(|user| user.username == username);
        found.ok_or_else(|| Failure::new(format!("the realm was made without a user {username}")))
    }

    /// The user logs in at the UI.
    pub async fn login(&self, username: &str) -> Result<Tokens, TokenError> {
        self.login_with_scope(username, "openid").await
    }

    /// The user logs in at the UI, asking for `scope`, such as `openid offline_access`.
    pub async fn login_with_scope(&self, username: &str, scope: &str) -> Result<Tokens, TokenError> {
        let user = self.user(username).map_err(|e| TokenError::Transport(e.to_string()))?;
        let form = [("grant_type", "password"), ("username", username), ("password", &user.password), ("scope", scope)];
        self.token(LOGIN_APP, &form).await
    }

    /// `client` spends a refresh token.
    pub async fn refresh(&self, client: &str, refresh_token: &str) -> Result<Tokens, TokenError> {
        self.token(client, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    /// The vault's client exchanges an access token for a pair of its own (RFC 8693).
    pub async fn exchange(&self, access_token: &str) -> Result<Tokens, TokenError> {
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", access_token),
            ("subject_token_type", ACCESS_TOKEN_TYPE),
            ("requested_token_type", REFRESH_TOKEN_TYPE),
        ];
        self.token(VAULT, &form).await
    }

    /// An access token of the client's service account.
    pub async fn service_token(&self, client: &str) -> Result<Tokens, TokenError> {
        self.token(client, &[("grant_type", "client_credentials")]).await
    }

    /// The vault's service account opens a session of its own for the user, named by name or `sub`.
    pub async fn impersonate(&self, subject: &str) -> Result<Tokens, TokenError> {
        let service = self.service_token(VAULT).await?;
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &service.access_token),
            ("requested_subject", subject),
            ("requested_token_type", REFRESH_TOKEN_TYPE),
        ];
        self.token(VAULT, &form).await
    }

    /// Any call of the token endpoint.
    pub async fn token(&self, client: &str, form: &[(&str, &str)]) -> Result<Tokens, TokenError> {
        let answer = self.post("token", client, form).await?;
        serde_json::from_value(answer).map_err(|e| TokenError::Transport(e.to_string()))
    }

    /// Logs out the session of a refresh token of `client`'s.
    pub async fn logout(&self, client: &str, refresh_token: &str) -> Result<(), TokenError> {
        self.post("logout", client, &[("refresh_token", refresh_token)]).await.map(drop)
    }

    /// Revokes a token (RFC 7009).
    pub async fn revoke(&self, client: &str, token: &str) -> Result<(), TokenError> {
        self.post("revoke", client, &[("token", token)]).await.map(drop)
    }

    /// Whether an access token is active (RFC 7662), as a module would ask.
    pub async fn is_active(&self, access_token: &str) -> Result<bool, TokenError> {
        let answer = self.introspect(VAULT, access_token, "access_token").await?;
        Ok(answer["active"] == json!(true))
    }

    /// Introspection (RFC 7662). A refresh token needs its owner as `client` and the hint `refresh_token`.
    pub async fn introspect(&self, client: &str, token: &str, hint: &str) -> Result<Value, TokenError> {
        self.post("token/introspect", client, &[("token", token), ("token_type_hint", hint)]).await
    }

    /// Deletes the realm now instead of when dropped, and tells of errors.
    pub async fn delete(mut self) -> Result<()> {
        self.owned = false;
        self.admin.delete_realm(&self.name).await
    }

    fn endpoint(&self, name: &str) -> String {
        format!("{}/protocol/openid-connect/{name}", self.issuer)
    }

    async fn post(&self, endpoint: &str, client: &str, form: &[(&str, &str)]) -> Result<Value, TokenError> {
        let mut whole = vec![("client_id", client), ("client_secret", self.secret(client))];
        whole.extend_from_slice(form);
        let transport = |e: reqwest::Error| TokenError::Transport(Failure::from(e).to_string());
        let answer = self.http.post(self.endpoint(endpoint)).form(&whole).send().await.map_err(transport)?;
        let status = answer.status();
        let text = answer.text().await.map_err(transport)?;
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let (error, description) = (member("error"), member("error_description"));
        Err(TokenError::Refused { status: status.as_u16(), error, description })
    }
}

impl Drop for LabRealm {
    fn drop(&mut self) {
        if !self.owned {
            return;
        }
        let (name, admin) = (self.name.clone(), self.admin.clone());
        // A runtime cannot be entered twice from one thread, so the deletion gets a thread with its own. A realm that
        // stays is no harm to other tests: names are never used twice.
        let deletion = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map(|runtime| runtime.block_on(admin.delete_realm(&name)))
        });
        drop(deletion.join());
    }
}

/// A name no other realm has.
pub fn unique_name() -> String {
    format!("lab-{}", &representation::random_text()[..12])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
