//! A client: what it may do, and what it makes its tokens say.

use super::{HiddenSecret, Mapper, RoleConfig};

/// Whether a client can act for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ServiceAccountConfig {
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
    pub(crate) secret: HiddenSecret,
    pub(crate) enabled: bool,
    pub(crate) direct_access_grants: bool,
    pub(crate) service_account: ServiceAccountConfig,
    pub(crate) standard_token_exchange: bool,
    pub(crate) exchange_refresh_tokens: bool,
    pub(crate) mappers: Vec<Mapper>,
    pub(crate) full_scope: bool,
    pub(crate) scope_mappings: Vec<RoleConfig>,
    pub(crate) consent_required: bool,
    pub(crate) lightweight: bool,
    pub(crate) gives_no_next_token: bool,
}

impl ClientConfig {
    /// A confidential client which may do nothing yet.
    pub fn new(client_id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            secret: HiddenSecret(secret.into()),
            enabled: true,
            direct_access_grants: false,
            service_account: ServiceAccountConfig::None,
            standard_token_exchange: false,
            exchange_refresh_tokens: false,
            mappers: Vec::new(),
            full_scope: true,
            scope_mappings: Vec::new(),
            consent_required: false,
            lightweight: false,
            gives_no_next_token: false,
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
    pub fn service_account(mut self, account: ServiceAccountConfig) -> Self {
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

    /// Its tokens say what this mapper has them say.
    #[must_use]
    pub fn mapper(mut self, mapper: Mapper) -> Self {
        self.mappers.push(mapper);
        self
    }

    /// Its tokens say only what Keycloak has every client's say.
    #[must_use]
    pub fn without_mappers(mut self) -> Self {
        self.mappers.clear();
        self
    }

    /// Its regular access tokens name `client` in `aud` (an audience mapper).
    #[must_use]
    pub fn audience(self, client: impl Into<String>) -> Self {
        self.mapper(Mapper::audience(client))
    }

    /// Its regular access tokens carry the user's attribute `user_id` as a claim, or no longer do.
    #[must_use]
    pub fn maps_user_id(mut self, yes: bool) -> Self {
        self.mappers.retain(|mapper| mapper.claim() != Some("user_id"));
        if yes { self.mapper(Mapper::attribute("user_id", "user_id")) } else { self }
    }

    /// Whether the roles of whoever it has a token for are all in its scope (`fullScopeAllowed`; at first, yes).
    #[must_use]
    pub fn full_scope(mut self, yes: bool) -> Self {
        self.full_scope = yes;
        self
    }

    /// A role that is in its scope although the client has no full one.
    #[must_use]
    pub fn scope_mapping(mut self, role: RoleConfig) -> Self {
        self.scope_mappings.push(role);
        self
    }

    /// Proves itself with another secret.
    #[must_use]
    pub fn with_secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = HiddenSecret(secret.into());
        self
    }

    /// Users must consent before it may act for them. Nobody ever has, here.
    #[must_use]
    pub fn consent_required(mut self, yes: bool) -> Self {
        self.consent_required = yes;
        self
    }

    /// Its access tokens are lightweight ones: no `sub`, no `aud`, nothing about the user but what mappers add that are
    /// made for them.
    #[must_use]
    pub fn lightweight(mut self, yes: bool) -> Self {
        self.lightweight = yes;
        self
    }

    /// An answer to a refresh brings it no new refresh token (the client policy `suppress-refresh-token-rotation`).
    #[must_use]
    pub fn gives_no_next_token(mut self) -> Self {
        self.gives_no_next_token = true;
        self
    }
}
