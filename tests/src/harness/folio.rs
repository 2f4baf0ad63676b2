//! A realm as FOLIO has it in real Keycloak: lightweight access tokens, the user's *name* as `sub`, users who may rename
//! themselves and write their own `user_id`, roles by the hundred, and decisions by UMA instead of roles in tokens.
//!
//! It knows nothing of the vault: its client, and what it needs of the UI's, is for `deploy/keycloak/setup.sh` to make.

mod people;
mod representation;

use std::ops::Deref;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::keycloak::{Keycloak, keycloak};
use super::realm::{LabRealm, LabUser, REFRESH_TOKEN_TYPE, TOKEN_EXCHANGE, TokenError, Tokens, random_text};
use super::{Failure, Result};
pub use people::Holding;
pub use representation::{ADMIN_ROLE, IMPERSONATION_CLIENT, SIDECAR_CLIENT};

/// How the realm is set up; made by [`FolioRealm::builder`].
#[derive(Debug, Clone)]
pub struct FolioRealmBuilder {
    name: String,
    suffix: String,
    lightweight: bool,
    roles: usize,
    many: usize,
    users: Vec<String>,
    settings: Map<String, Value>,
}

impl FolioRealmBuilder {
    /// The access token's life in seconds.
    #[must_use]
    pub fn at_ttl(self, seconds: u64) -> Self {
        self.setting("accessTokenLifespan", seconds)
    }

    /// How many roles the user `diku_many` has beside FOLIO's `adminRole`.
    #[must_use]
    pub fn many_roles(mut self, roles: usize) -> Self {
        self.many = roles;
        self
    }

    /// Regular access tokens instead of lightweight ones.
    #[must_use]
    pub fn regular(mut self) -> Self {
        self.lightweight = false;
        self
    }

    /// What follows the tenant's name in the name of the UI's client; other tools of FOLIO's say `-application`.
    #[must_use]
    pub fn suffix(mut self, suffix: &str) -> Self {
        suffix.clone_into(&mut self.suffix);
        self
    }

    /// One more user with FOLIO's `adminRole`.
    #[must_use]
    pub fn user(mut self, username: &str) -> Self {
        self.users.push(username.to_owned());
        self
    }

    /// Any other member of the realm's representation.
    #[must_use]
    pub fn setting(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.settings.insert(name.to_owned(), value.into());
        self
    }

    /// Creates it in the shared Keycloak.
    pub async fn create(self) -> Result<FolioRealm> {
        self.create_in(keycloak().await?).await
    }

    /// Creates it in the given Keycloak.
    pub async fn create_in(self, keycloak: &Keycloak) -> Result<FolioRealm> {
        let lab = LabRealm::from_representation(keycloak, representation::realm(&self)).await?;
        let realm = FolioRealm { lab, login_client: self.login_client() };
        realm.permit_impersonation().await?;
        Ok(realm)
    }

    fn login_client(&self) -> String {
        format!("{}{}", self.name, self.suffix)
    }
}

/// A realm of the test's own as FOLIO has it, with all that a [`LabRealm`] can do; deleted when dropped.
pub struct FolioRealm {
    lab: LabRealm,
    login_client: String,
}

impl Deref for FolioRealm {
    type Target = LabRealm;

    fn deref(&self) -> &LabRealm {
        &self.lab
    }
}

impl FolioRealm {
    /// As FOLIO's tenant manager makes it: access tokens of 10 minutes, sessions of 24 hours; the users `diku_admin` with 25
    /// roles, `diku_many`, `mod-data-import` and `second`.
    pub fn builder() -> FolioRealmBuilder {
        FolioRealmBuilder {
            name: format!("folio-{}", &random_text()[..12]),
            suffix: "-login-application".to_owned(),
            lightweight: true,
            roles: 25,
            many: 0,
            users: ["diku_admin", "diku_many", "mod-data-import", "second"].map(str::to_owned).into(),
            settings: Map::new(),
        }
    }

    /// The client that users log in with.
    pub fn login_client(&self) -> &str {
        &self.login_client
    }

    /// Tells the secret of a client that was made after the realm was.
    pub fn learn_secret(&mut self, client: &str, secret: &str) {
        self.lab.learn_secret(client, secret);
    }

    /// A user logs in at the UI.
    pub async fn login(&self, user: &LabUser) -> Result<Tokens, TokenError> {
        self.login_named(user, &user.username).await
    }

    /// A user logs in at the UI under the name they have by now.
    pub async fn login_named(&self, user: &LabUser, username: &str) -> Result<Tokens, TokenError> {
        let password = user.password();
        let form = [("grant_type", "password"), ("username", username), ("password", password), ("scope", "openid")];
        self.token(&self.login_client, &form).await
    }

    /// The user logs out at the UI.
    pub async fn logout_ui(&self, tokens: &Tokens) -> Result<(), TokenError> {
        self.logout(&self.login_client, tokens.refresh()).await
    }

    /// A token of [`IMPERSONATION_CLIENT`] in the user's name, as FOLIO's schedulers and consortia have it: nobody logged in
    /// for it.
    ///
    /// FOLIO's Keycloak has fine-grained permissions, by which the client may do so without a role. Where they are switched
    /// off, a user who may impersonate does it through the client; its own service account cannot, for the name that is
    /// mapped to `sub` hides from Keycloak whose token it is.
    pub async fn consortium_token(&self, username: &str) -> Result<Tokens> {
        let agent = self.add_user(&format!("agent-{}", &random_text()[..8])).await?;
        self.grant_management(&agent, "impersonation", Holding::Direct).await?;
        let form = [("grant_type", "password"), ("username", &agent.username), ("password", agent.password())];
        let own = self.token(IMPERSONATION_CLIENT, &form).await?;
        let form = [
            ("grant_type", TOKEN_EXCHANGE),
            ("subject_token", &own.access_token),
            ("requested_subject", username),
            ("requested_token_type", REFRESH_TOKEN_TYPE),
        ];
        Ok(self.token(IMPERSONATION_CLIENT, &form).await?)
    }

    /// Whether Keycloak lets the bearer of a token call a module's route: what FOLIO's sidecar asks before it lets anybody
    /// through (UMA). The status is 431 where the token is too long a header for Keycloak itself.
    pub async fn decide(&self, access_token: &str, method: &str, route: &str) -> Result<u16> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:uma-ticket"),
            ("audience", self.login_client.as_str()),
            ("permission", &format!("{route}#{method}")),
            ("response_mode", "decision"),
        ];
        let request = self.http().post(self.token_endpoint()).bearer_auth(access_token).form(&form);
        Ok(request.send().await?.status().as_u16())
    }

    /// As the tenant manager does where Keycloak has fine-grained permissions: [`IMPERSONATION_CLIENT`] may impersonate by
    /// a policy on users. Without the feature it leaves this out.
    async fn permit_impersonation(&self) -> Result<()> {
        let (admin, realm) = (self.admin(), self.name());
        let switch = json!({ "enabled": true });
        let path = format!("/{realm}/users-management-permissions");
        let permissions = match admin.call(Method::PUT, &path, Some(&switch)).await {
            Ok(permissions) => permissions,
            Err(failure) if failure.to_string().contains("501") => return Ok(()),
            Err(failure) => return Err(failure),
        };
        let permission = permissions["scopePermissions"]["impersonate"].as_str();
        let permission = permission.ok_or_else(|| Failure::new("no permission to impersonate"))?;
        let client = admin.client(realm, IMPERSONATION_CLIENT).await?;
        let management = admin.client(realm, "realm-management").await?;
        let server =
            format!("/{realm}/clients/{}/authz/resource-server", management["id"].as_str().unwrap_or_default());
        let policy = json!({ "name": "impersonation-policy", "type": "client", "clients": [client["id"]] });
        admin.call(Method::POST, &format!("{server}/policy/client"), Some(&policy)).await?;
        let granted = json!({ "name": "admin-impersonating.permission.users", "policies": ["impersonation-policy"] });
        admin.call(Method::PUT, &format!("{server}/permission/scope/{permission}"), Some(&granted)).await.map(drop)
    }
}
