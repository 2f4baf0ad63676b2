//! What a realm is made of, said by whoever starts the stand-in: settings, clients, users. Builders, no rules.

use std::fmt;

use crate::keys::SigningKey;

/// A value that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Hidden(pub(crate) String);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// Features of the whole server, Keycloak's `--features`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// `token-exchange:v1`: the legacy exchange, and with it impersonation by `requested_subject`.
    pub token_exchange_v1: bool,
}

impl Default for Features {
    fn default() -> Self {
        Self { token_exchange_v1: true }
    }
}

/// A realm's settings, in seconds where they are times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmSettings {
    /// `accessTokenLifespan`.
    pub access_token_lifespan: u64,
    /// `ssoSessionIdleTimeout`; clients inherit it.
    pub sso_session_idle: u64,
    /// `ssoSessionMaxLifespan`; clients inherit it.
    pub sso_session_max: u64,
    /// `revokeRefreshToken`: rotation with detection of reuse.
    pub revoke_refresh_token: bool,
    /// `refreshTokenMaxReuse`: a refresh token may be sent this many times more than once.
    pub refresh_token_max_reuse: u32,
}

impl RealmSettings {
    /// As FOLIO's realms have it: rotation without any reuse, 10-minute access tokens, sessions of 24 hours.
    pub fn folio_like() -> Self {
        Self {
            access_token_lifespan: 600,
            sso_session_idle: 86_400,
            sso_session_max: 86_400,
            revoke_refresh_token: true,
            refresh_token_max_reuse: 0,
        }
    }
}

/// Whether a client can act for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceAccount {
    /// No service account.
    #[default]
    None,
    /// A service account without roles that matter.
    Plain,
    /// A service account with the role `realm-management/impersonation`.
    Impersonating,
}

/// A confidential client.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "each is an independent switch of Keycloak's client page")]
pub struct ClientConfig {
    pub(crate) client_id: String,
    pub(crate) secret: Hidden,
    pub(crate) enabled: bool,
    pub(crate) direct_access_grants: bool,
    pub(crate) service_account: ServiceAccount,
    pub(crate) standard_token_exchange: bool,
    pub(crate) exchange_refresh_tokens: bool,
    pub(crate) audiences: Vec<String>,
    pub(crate) maps_user_id: bool,
    pub(crate) consent_required: bool,
    pub(crate) lightweight: bool,
}

impl ClientConfig {
    /// A confidential client which may do nothing yet.
    pub fn new(client_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            secret: Hidden(secret.into()),
            enabled: true,
            direct_access_grants: false,
            service_account: ServiceAccount::None,
            standard_token_exchange: false,
            exchange_refresh_tokens: false,
            audiences: Vec::new(),
            maps_user_id: false,
            consent_required: false,
            lightweight: false,
        }
    }

    /// Its id.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Its secret.
    pub fn secret(&self) -> &str {
        &self.secret.0
    }

    /// Switches the client on or off.
    #[must_use]
    pub fn enabled(mut self, yes: bool) -> Self {
        self.enabled = yes;
        self
    }

    /// Users may log in through it with the password grant.
    #[must_use]
    pub fn direct_access_grants(mut self) -> Self {
        self.direct_access_grants = true;
        self
    }

    /// Whether it can act for itself, and impersonate.
    #[must_use]
    pub fn service_account(mut self, account: ServiceAccount) -> Self {
        self.service_account = account;
        self
    }

    /// Standard token exchange, with refresh tokens in the same session
    /// (`standard.token.exchange.enableRefreshRequestedTokenType=SAME_SESSION`).
    #[must_use]
    pub fn token_exchange(mut self) -> Self {
        self.standard_token_exchange = true;
        self.exchange_refresh_tokens = true;
        self
    }

    /// Standard token exchange for access tokens alone.
    #[must_use]
    pub fn token_exchange_without_refresh_tokens(mut self) -> Self {
        self.standard_token_exchange = true;
        self.exchange_refresh_tokens = false;
        self
    }

    /// No standard token exchange.
    #[must_use]
    pub fn no_token_exchange(mut self) -> Self {
        self.standard_token_exchange = false;
        self.exchange_refresh_tokens = false;
        self
    }

    /// Its access tokens name `client` in `aud` (an audience mapper).
    #[must_use]
    pub fn audience(mut self, client: impl Into<String>) -> Self {
        self.audiences.push(client.into());
        self
    }

    /// Its tokens carry the user's attribute `user_id` as a claim.
    #[must_use]
    pub fn maps_user_id(mut self, yes: bool) -> Self {
        self.maps_user_id = yes;
        self
    }

    /// Users must consent before it may act for them. Nobody ever has, here.
    #[must_use]
    pub fn consent_required(mut self, yes: bool) -> Self {
        self.consent_required = yes;
        self
    }

    /// Its access tokens are lightweight ones: no `sub`, no `aud`, nothing about the user.
    #[must_use]
    pub fn lightweight(mut self, yes: bool) -> Self {
        self.lightweight = yes;
        self
    }
}

/// A user.
#[derive(Debug, Clone)]
pub struct UserConfig {
    pub(crate) username: String,
    pub(crate) password: Hidden,
    pub(crate) id: Option<String>,
    pub(crate) user_id: Option<String>,
    pub(crate) enabled: bool,
    pub(crate) realm_management: bool,
}

impl UserConfig {
    /// A user who can log in.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: Hidden(password.into()),
            id: None,
            user_id: None,
            enabled: true,
            realm_management: false,
        }
    }

    /// The name the user logs in with.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The password the user logs in with.
    pub fn password(&self) -> &str {
        &self.password.0
    }

    /// The attribute `user_id`, if set.
    pub fn user_id_value(&self) -> Option<&str> {
        self.user_id.as_deref()
    }

    /// Keycloak's own id of the user (`sub`); a random UUID if not said.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// The attribute `user_id`: a FOLIO UUID beside Keycloak's own.
    #[must_use]
    pub fn user_id(mut self, id: impl Into<String>) -> Self {
        self.user_id = Some(id.into());
        self
    }

    /// Switches the user on or off.
    #[must_use]
    pub fn enabled(mut self, yes: bool) -> Self {
        self.enabled = yes;
        self
    }

    /// The user holds a role of `realm-management` (`manage-users`), which shows in `resource_access`.
    #[must_use]
    pub fn realm_management(mut self) -> Self {
        self.realm_management = true;
        self
    }
}

/// A realm.
#[derive(Debug, Clone)]
pub struct RealmConfig {
    pub(crate) name: String,
    pub(crate) settings: RealmSettings,
    pub(crate) clients: Vec<ClientConfig>,
    pub(crate) users: Vec<UserConfig>,
    pub(crate) key: Option<SigningKey>,
}

impl RealmConfig {
    /// An empty realm with the given settings.
    pub fn new(name: impl Into<String>, settings: RealmSettings) -> Self {
        Self { name: name.into(), settings, clients: Vec::new(), users: Vec::new(), key: None }
    }

    /// The laboratory realm: the client `login-app` (the user interface; its tokens name the vault in `aud`), the
    /// client `tokenvault` (token exchange, impersonation), and the user `alice`, all with secrets a demonstration may
    /// print.
    pub fn folio_like(name: impl Into<String>) -> Self {
        Self::new(name, RealmSettings::folio_like())
            .client(
                ClientConfig::new("login-app", "login-app-secret")
                    .direct_access_grants()
                    .audience("tokenvault")
                    .maps_user_id(true),
            )
            .client(
                ClientConfig::new("tokenvault", "tokenvault-secret")
                    .token_exchange()
                    .service_account(ServiceAccount::Impersonating)
                    .audience("tokenvault")
                    .maps_user_id(true),
            )
            .user(UserConfig::new("alice", "alice-password").user_id("4fd6f6a8-2ba2-4dd5-8d3c-3d4b3a9a7a10"))
    }

    /// The realm's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its settings.
    pub fn settings(&self) -> &RealmSettings {
        &self.settings
    }

    /// Its clients.
    pub fn clients(&self) -> &[ClientConfig] {
        &self.clients
    }

    /// Its users.
    pub fn users(&self) -> &[UserConfig] {
        &self.users
    }

    /// Changes the settings.
    #[must_use]
    pub fn with_settings(mut self, change: impl FnOnce(&mut RealmSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Adds a client, or replaces the one of that id.
    #[must_use]
    pub fn client(mut self, client: ClientConfig) -> Self {
        self.clients.retain(|c| c.client_id != client.client_id);
        self.clients.push(client);
        self
    }

    /// Changes a client that is already there; without one of that id, nothing.
    #[must_use]
    pub fn with_client(mut self, client_id: &str, change: impl FnOnce(ClientConfig) -> ClientConfig) -> Self {
        if let Some(at) = self.clients.iter().position(|c| c.client_id == client_id) {
            let client = self.clients.remove(at);
            self.clients.insert(at, change(client));
        }
        self
    }

    /// Adds a user, or replaces the one of that name.
    #[must_use]
    pub fn user(mut self, user: UserConfig) -> Self {
        self.users.retain(|u| u.username != user.username);
        self.users.push(user);
        self
    }

    /// Signs with this key instead of one made for the realm.
    #[must_use]
    pub fn signing_key(mut self, key: SigningKey) -> Self {
        self.key = Some(key);
        self
    }
}
