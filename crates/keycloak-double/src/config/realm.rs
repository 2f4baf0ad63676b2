//! A realm: settings, clients, users, roles and groups, and the two that tests and demonstrations begin with.

use std::collections::BTreeMap;

use super::{ClientConfig, Mapper, RealmSettings, RoleConfig, ServiceAccountConfig, UserConfig};
use crate::keys::DoubleSigningKey;

/// A realm.
#[derive(Debug, Clone)]
pub struct RealmConfig {
    pub(crate) name: String,
    pub(crate) settings: RealmSettings,
    pub(crate) clients: Vec<ClientConfig>,
    pub(crate) users: Vec<UserConfig>,
    pub(crate) roles: BTreeMap<String, Vec<RoleConfig>>,
    pub(crate) groups: BTreeMap<String, Vec<RoleConfig>>,
    pub(crate) users_edit_themselves: bool,
    pub(crate) key: Option<DoubleSigningKey>,
}

impl RealmConfig {
    /// An empty realm with the given settings.
    pub fn new(name: impl Into<String>, settings: RealmSettings) -> Self {
        Self {
            name: name.into(),
            settings,
            clients: Vec::new(),
            users: Vec::new(),
            roles: BTreeMap::new(),
            groups: BTreeMap::new(),
            users_edit_themselves: false,
            key: None,
        }
    }

    /// A plain realm with FOLIO's times: the client `login-app` (the user interface; its tokens name the vault in `aud`), the
    /// client `tokenvault` (token exchange, impersonation), and the user `alice`, all with secrets a demonstration may
    /// print.
    pub fn lab(name: impl Into<String>) -> Self {
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
                    .service_account(ServiceAccountConfig::Impersonating)
                    .audience("tokenvault")
                    .maps_user_id(true)
                    .mapper(Mapper::property("id", "keycloak_user_id")),
            )
            .user(UserConfig::new("alice", "alice-password").user_id("4fd6f6a8-2ba2-4dd5-8d3c-3d4b3a9a7a10"))
    }

    /// A realm as FOLIO's tenant manager makes it and `deploy/keycloak/setup.sh` prepares it for the vault, impersonation
    /// included. The user interface's client is [`RealmConfig::folio_login_client`]: its tokens are lightweight, and name
    /// the user by name in `sub`. The client `tokenvault` has no full scope. The user is `diku_admin`. A client's secret is
    /// its id with `-secret` behind it, the user's password the name with `-password`.
    pub fn folio_like(name: impl Into<String>) -> Self {
        let name = name.into();
        let ui = Self::folio_login_client(&name);
        let secret = format!("{ui}-secret");
        Self::new(name, RealmSettings::folio_like())
            .users_edit_themselves()
            .role("adminRole", &[])
            .client(
                ClientConfig::new(ui, secret)
                    .direct_access_grants()
                    .service_account(ServiceAccountConfig::Plain)
                    .lightweight(true)
                    .mapper(Mapper::property("username", "sub").in_lightweight_tokens())
                    .mapper(Mapper::attribute("user_id", "user_id").in_lightweight_tokens())
                    .mapper(Mapper::subject().in_lightweight_tokens())
                    .mapper(Mapper::audience("tokenvault").in_lightweight_tokens()),
            )
            .client(
                ClientConfig::new("tokenvault", "tokenvault-secret")
                    .token_exchange()
                    .service_account(ServiceAccountConfig::Impersonating)
                    .full_scope(false)
                    .scope_mapping(RoleConfig::management("impersonation"))
                    .mapper(Mapper::audience("tokenvault").in_lightweight_tokens())
                    .mapper(Mapper::attribute("user_id", "user_id").in_lightweight_tokens())
                    .mapper(Mapper::property("id", "keycloak_user_id").in_lightweight_tokens()),
            )
            .user(
                UserConfig::new("diku_admin", "diku_admin-password")
                    .user_id("9eb67301-6f6e-468f-9b1a-6134dc39a684")
                    .without_roles()
                    .default_roles()
                    .role(RoleConfig::realm("adminRole")),
            )
    }

    /// The client that FOLIO's users log in with.
    pub fn folio_login_client(realm: &str) -> String {
        format!("{realm}-login-application")
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

    /// Adds a realm role, or replaces the one of that name. Whoever has it has what it contains.
    #[must_use]
    pub fn role(mut self, name: impl Into<String>, contains: &[RoleConfig]) -> Self {
        self.roles.insert(name.into(), contains.to_vec());
        self
    }

    /// Adds a group, or replaces the one of that name. Its members have its roles.
    #[must_use]
    pub fn group(mut self, name: impl Into<String>, roles: &[RoleConfig]) -> Self {
        self.groups.insert(name.into(), roles.to_vec());
        self
    }

    /// Users may rename themselves (`editUsernameAllowed`) and write attributes of their own that the realm does not know
    /// (`unmanagedAttributePolicy`).
    #[must_use]
    pub fn users_edit_themselves(mut self) -> Self {
        self.users_edit_themselves = true;
        self
    }

    /// Signs with this key instead of one made for the realm.
    #[must_use]
    pub fn signing_key(mut self, key: DoubleSigningKey) -> Self {
        self.key = Some(key);
        self
    }
}
