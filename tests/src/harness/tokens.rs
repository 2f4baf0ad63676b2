//! What Keycloak's token endpoint answers: tokens that do not show themselves, or why there are none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// A token response (RFC 6749 §5.1). `Debug` shows no token.
#[derive(Clone, serde::Deserialize)]
pub struct Tokens {
    /// The access token.
    pub access_token: String,
    /// The refresh token, where one was issued.
    #[serde(default)]
    pub refresh_token: Option<String>,
    /// The access token's life in seconds.
    pub expires_in: u64,
    /// The refresh token's life in seconds; 0 means without end.
    #[serde(default)]
    pub refresh_expires_in: u64,
    /// The granted scope.
    #[serde(default)]
    pub scope: String,
}

impl Tokens {
    /// The refresh token, of which there must be one.
    pub fn refresh(&self) -> &str {
        self.refresh_token.as_deref().unwrap_or_default()
    }

    /// The access token's length in bytes, which every call of a module's carries.
    pub fn size(&self) -> usize {
        self.access_token.len()
    }

    /// The access token's claims, unverified.
    pub fn claims(&self) -> Value {
        claims(&self.access_token)
    }

    /// The session they belong to.
    pub fn sid(&self) -> String {
        self.claim("sid")
    }

    /// A claim of the access token as text; empty if it is absent.
    pub fn claim(&self, name: &str) -> String {
        self.claims()[name].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("access_token", &"[redacted]")
            .field("refresh_token", &self.refresh_token.as_ref().map(|_| "[redacted]"))
            .field("expires_in", &self.expires_in)
            .field("refresh_expires_in", &self.refresh_expires_in)
            .field("scope", &self.scope)
            .finish()
    }
}

/// The claims of a JWT, unverified; null if it is none.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// Why Keycloak gave no token.
#[derive(Debug, Clone)]
pub enum TokenError {
    /// An OAuth error answer (RFC 6749 §5.2).
    Refused {
        /// HTTP status.
        status: u16,
        /// `error`.
        error: String,
        /// `error_description`.
        description: String,
    },
    /// No answer, or none that can be read.
    Transport(String),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, error, description } => write!(f, "{status} {error}: {description}"),
            Self::Transport(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for TokenError {}
