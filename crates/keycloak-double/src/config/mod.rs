//! What a realm is made of, said by whoever starts the stand-in: settings, clients, users. Builders, no rules.

mod client;
mod mapper;
mod realm;
mod role;
mod user;

use std::fmt;

pub use client::{ClientConfig, ServiceAccountConfig};
pub use mapper::Mapper;
pub(crate) use mapper::Source;
pub use realm::RealmConfig;
pub use role::RoleConfig;
pub(crate) use role::{Roles, default_roles};
pub use user::UserConfig;

/// A value that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct HiddenSecret(pub(crate) String);

impl fmt::Debug for HiddenSecret {
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
