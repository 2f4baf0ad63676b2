//! A tenant as this crate needs to know it: where its realm is, who the vault is there, whose proofs count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::secret::ClientSecret;
use url::Url;

use crate::assertion::SigningKey;
use crate::http::HttpClient;

/// Finds a tenant's settings; asked anew at every call, so that a reload takes effect at once.
pub trait TenantDirectory: Send + Sync {
    /// The tenant's settings; `None` if it is not configured.
    fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantConfig>>;
}

impl TenantDirectory for BTreeMap<TenantId, Arc<TenantConfig>> {
    fn tenant(&self, tenant: &TenantId) -> Option<Arc<TenantConfig>> {
        self.get(tenant).cloned()
    }
}

/// How a client proves itself to Keycloak. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// `client_secret_post`: a shared secret in the form.
    Secret(ClientSecret),
    /// `private_key_jwt` (RFC 7523 §2.2): a fresh assertion for each request.
    PrivateKeyJwt(SigningKey),
}

/// Why an issuer or base URL is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an http or https URL without query and fragment")]
pub struct InvalidIssuer;

/// One tenant.
#[derive(Clone)]
pub struct TenantConfig {
    issuer: String,
    endpoints: Endpoints,
    /// The vault's own client.
    pub client_id: ClientId,
    /// How the vault's own client proves itself.
    pub credentials: Credentials,
    /// The claim users are known by; `sub` if not set otherwise.
    pub user_id_claim: String,
    /// The clients (`azp`) whose users' access tokens are accepted as proofs. A client whose pairs may be deposited is
    /// accepted as a proof's client only if it is listed here too.
    pub accepted_clients: BTreeSet<ClientId>,
    /// How far back a proof's `iat` may lie. As long as the proof lives, an hour at most, if not set otherwise.
    pub max_proof_age: Option<Duration>,
    /// How far a proof's `iat` and `nbf` may lie in the future, for clocks that differ. 30 seconds if not set otherwise.
    pub clock_skew: Duration,
    /// How long after its `exp` a proof is still accepted. Zero if not set otherwise.
    pub expiry_leeway: Duration,
    /// Clients whose pairs may be deposited, and how the vault speaks for them.
    pub adopt_clients: BTreeMap<ClientId, Credentials>,
    /// `scope` in an exchange and an impersonation.
    pub exchange_scope: Option<String>,
    /// How long the answer to a refresh is waited for, where that is not the HTTP client's usual time.
    pub refresh_patience: Option<Duration>,
    /// An HTTP client for this tenant alone, where its certificate authority or its time-outs are its own.
    pub http: Option<Arc<dyn HttpClient>>,
}

impl TenantConfig {
    /// A tenant with the usual settings and no accepted client yet.
    ///
    /// `issuer` is compared with the tokens' `iss` letter by letter. `base_url` says where the vault reaches Keycloak if
    /// not there: either the realm's address, or (if it has no `/realms/` in it) the server's, to which the issuer's
    /// `/realms/…` is added.
    pub fn new(
        issuer: &str,
        base_url: Option<&str>,
        client_id: ClientId,
        credentials: Credentials,
    ) -> Result<Self, InvalidIssuer> {
        Ok(Self {
            issuer: issuer.to_owned(),
            endpoints: Endpoints::of(issuer, base_url)?,
            client_id,
            credentials,
            user_id_claim: "sub".to_owned(),
            accepted_clients: BTreeSet::new(),
            max_proof_age: None,
            clock_skew: Duration::from_secs(30),
            expiry_leeway: Duration::ZERO,
            adopt_clients: BTreeMap::new(),
            exchange_scope: None,
            refresh_patience: None,
            http: None,
        })
    }

    /// `iss` of the tenant's tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Where the realm is reached.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// How a client proves itself; `None` if the vault does not speak for it.
    pub(crate) fn credentials_of(&self, client: &ClientId) -> Option<&Credentials> {
        if *client == self.client_id { Some(&self.credentials) } else { self.adopt_clients.get(client) }
    }

    /// Whether a client of this id is the vault's own, or one whose pairs may be deposited.
    pub(crate) fn speaks_for(&self, client: &str) -> bool {
        self.client_id.as_str() == client || self.adopt_clients.keys().any(|known| known.as_str() == client)
    }

    /// Whether the realm is the one that Keycloak administers itself with.
    pub(crate) fn is_master(&self) -> bool {
        self.issuer.ends_with("/realms/master")
    }
}

impl fmt::Debug for TenantConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantConfig")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("accepted_clients", &self.accepted_clients)
            .finish_non_exhaustive()
    }
}

/// A realm's endpoints. Keycloak's paths are fixed, so nothing has to be discovered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The token endpoint.
    pub token: Url,
    /// The introspection endpoint.
    pub introspection: Url,
    /// The revocation endpoint.
    pub revocation: Url,
    /// The key set.
    pub jwks: Url,
}

impl Endpoints {
    fn of(issuer: &str, base_url: Option<&str>) -> Result<Self, InvalidIssuer> {
        let checked = |text: &str| {
            let url = Url::parse(text).map_err(|_| InvalidIssuer)?;
            let plain = matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none();
            if plain { Ok(text.trim_end_matches('/').to_owned()) } else { Err(InvalidIssuer) }
        };
        let issuer = checked(issuer)?;
        let realm = match base_url.map(checked).transpose()? {
            None => issuer,
            Some(base) if base.contains("/realms/") => base,
            Some(base) => match issuer.find("/realms/") {
                Some(at) => format!("{base}{}", &issuer[at..]),
                None => base,
            },
        };
        let endpoint = |name: &str| Url::parse(&format!("{realm}/protocol/openid-connect/{name}"));
        let all = || {
            Ok::<_, url::ParseError>(Self {
                token: endpoint("token")?,
                introspection: endpoint("token/introspect")?,
                revocation: endpoint("revoke")?,
                jwks: endpoint("certs")?,
            })
        };
        all().map_err(|_| InvalidIssuer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token_endpoint(issuer: &str, base_url: Option<&str>) -> String {
        Endpoints::of(issuer, base_url).map(|e| e.token.to_string()).unwrap_or_default()
    }

    #[test]
    fn endpoints_lie_below_the_realm() {
        let endpoints = Endpoints::of("https://kc/realms/diku", None).unwrap();
        assert_eq!(endpoints.token.as_str(), "https://kc/realms/diku/protocol/openid-connect/token");
        assert_eq!(endpoints.introspection.as_str(), "https://kc/realms/diku/protocol/openid-connect/token/introspect");
        assert_eq!(endpoints.revocation.as_str(), "https://kc/realms/diku/protocol/openid-connect/revoke");
        assert_eq!(endpoints.jwks.as_str(), "https://kc/realms/diku/protocol/openid-connect/certs");
    }

    #[test]
    fn a_base_url_may_name_the_server_or_the_realm() {
        let expected = "http://inside:8080/auth/realms/diku/protocol/openid-connect/token";
        let issuer = "https://kc/realms/diku";
        assert_eq!(token_endpoint(issuer, Some("http://inside:8080/auth/")), expected);
        assert_eq!(token_endpoint(issuer, Some("http://inside:8080/auth/realms/diku")), expected);
    }

    #[test]
    fn what_is_no_web_address_is_refused() {
        for bad in ["", "kc/realms/x", "ftp://kc/realms/x", "https://kc/realms/x?y=1", "https://kc/realms/x#y"] {
            assert_eq!(Endpoints::of(bad, None), Err(InvalidIssuer), "{bad}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let client = ClientId::parse("vault").unwrap();
        let secret = Credentials::Secret(ClientSecret::new("canary"));
        let tenant = TenantConfig::new("https://kc/realms/x", None, client, secret.clone()).unwrap();
        assert!(!format!("{tenant:?} {secret:?}").contains("canary"));
    }
}
