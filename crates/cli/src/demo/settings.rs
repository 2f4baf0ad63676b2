//! What the demonstration is to be like, as the command line says it.

use std::path::PathBuf;
use std::time::Duration;

use tokenvault_core::secret::ClientSecret;
use url::Url;

use super::realm::TokenShape;

/// The options of a run.
#[derive(Debug, Clone)]
pub struct DemoSettings {
    /// The life of an access token.
    pub at_ttl: Duration,
    /// What the realm's tokens are like.
    pub shape: TokenShape,
    /// Whether jobs may go on after their user's logout, in sessions of the vault's own.
    pub survive_logout: bool,
    /// A real Keycloak instead of the embedded stand-in.
    pub keycloak: Option<KeycloakAccess>,
    /// A real Redis instead of memory.
    pub redis_url: Option<String>,
    /// Where the files go, to stay there; without it, somewhere temporary.
    pub dir: Option<PathBuf>,
    /// The ports on loopback.
    pub ports: ListenPorts,
    /// The vault's log level, if its log is to be seen.
    pub log_level: String,
    /// Whether the vault's log is to be seen, on standard error.
    pub logs: bool,
}

/// Ports on loopback; 0 takes a free one.
#[derive(Debug, Clone, Copy, Default)]
pub struct ListenPorts {
    /// Of the vault.
    pub vault: u16,
    /// Of its management listener.
    pub management: u16,
    /// Of the embedded identity provider.
    pub idp: u16,
}

/// How to reach a real Keycloak as its administrator.
#[derive(Debug, Clone)]
pub struct KeycloakAccess {
    /// Where it is.
    pub url: Url,
    /// An administrator of its master realm.
    pub admin: String,
    /// The administrator's password.
    pub password: ClientSecret,
    /// The CAs that sign its certificate, PEM; the system's where `None`.
    pub ca_pem: Option<Vec<u8>>,
}
