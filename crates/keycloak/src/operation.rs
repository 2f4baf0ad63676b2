//! What Keycloak is asked for.

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Standard token exchange.
    Exchange,
    /// The refresh grant.
    Refresh,
    /// The legacy exchange with a requested subject.
    Impersonate,
    /// The client credentials grant.
    ServiceAccount,
    /// Introspection of a refresh token.
    Probe,
    /// Introspection of an access token.
    Introspect,
    /// Revocation.
    Revoke,
    /// The key set.
    Jwks,
}

impl Operation {
    /// The name, for metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Refresh => "refresh",
            Self::Impersonate => "impersonate",
            Self::ServiceAccount => "service_account",
            Self::Probe => "probe",
            Self::Introspect => "introspect",
            Self::Revoke => "revoke",
            Self::Jwks => "jwks",
        }
    }
}
