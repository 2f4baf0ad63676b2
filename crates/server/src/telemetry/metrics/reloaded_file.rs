//! The files that are read again when they change, by the words that metrics, logs and events have for them.

/// What is read again when its file changes, and may be refused then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReloadedFile {
    /// Which module may do what.
    Policy,
    /// Which tenants there are.
    Tenants,
    /// What the tenants' clients prove themselves with, and whom to trust to be Keycloak.
    Secrets,
    /// Which operator may do what.
    AdminPolicy,
    /// What tokens are sealed with.
    Keyring,
    /// The certificate, with its key, of the listener that modules call.
    ServerCertificate,
    /// Who signs modules' certificates.
    ServerClientCa,
    /// Which of those are revoked.
    ServerClientCrl,
    /// The same of the operators' listener.
    AdminCertificate,
    /// Who signs operators' certificates.
    AdminClientCa,
    /// Which of those are revoked.
    AdminClientCrl,
    /// The certificate, with its key, of the listener that Keycloak calls.
    IdpCertificate,
}

impl ReloadedFile {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Policy,
        Self::Tenants,
        Self::Secrets,
        Self::AdminPolicy,
        Self::Keyring,
        Self::ServerCertificate,
        Self::ServerClientCa,
        Self::ServerClientCrl,
        Self::AdminCertificate,
        Self::AdminClientCa,
        Self::AdminClientCrl,
        Self::IdpCertificate,
    ];

    /// The word, for metrics, logs and events.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Tenants => "tenants",
            Self::Secrets => "secrets",
            Self::AdminPolicy => "admin_policy",
            Self::Keyring => "keyring",
            Self::ServerCertificate => "server_certificate",
            Self::ServerClientCa => "server_client_ca",
            Self::ServerClientCrl => "server_client_crl",
            Self::AdminCertificate => "admin_certificate",
            Self::AdminClientCa => "admin_client_ca",
            Self::AdminClientCrl => "admin_client_crl",
            Self::IdpCertificate => "idp_certificate",
        }
    }
}
