//! The demonstration's identity provider: the embedded one, or a realm of its own in a real Keycloak.

use std::net::SocketAddr;
use std::sync::Arc;

use keycloak_double::{Double, DoubleConfig};
use reqwest::Certificate;
use serde_json::Value;
use tokenvault_core::ports::Entropy;

use super::error::DemoError;
use super::http;
use super::keycloak_realm::Provisioned;
use super::realm::{DemoRealm, random_hex};
use super::settings::{DemoSettings, KeycloakAccess};

/// A running identity provider with the demonstration's realm.
pub(super) struct DemoIdp {
    kind: IdpKind,
    pub(super) http: reqwest::Client,
    pub(super) realm: Arc<DemoRealm>,
    /// `iss` of its tokens.
    pub(super) issuer: String,
    /// Where the realm is reached.
    pub(super) realm_url: String,
}

enum IdpKind {
    Embedded(Double),
    Keycloak(Provisioned),
}

impl DemoIdp {
    pub(super) async fn start(settings: &DemoSettings, entropy: &dyn Entropy) -> Result<Self, DemoError> {
        let http = client(settings.keycloak.as_ref())?;
        let name = match settings.keycloak {
            // Others may use the same Keycloak.
            Some(_) => format!("tokenvault-{}", random_hex(entropy, 4)),
            None => settings.shape.tenant().to_owned(),
        };
        let realm = Arc::new(DemoRealm::new(name, settings.shape, settings.at_ttl, entropy));
        let kind = match &settings.keycloak {
            None => {
                let address = SocketAddr::from(([127, 0, 0, 1], settings.ports.idp));
                IdpKind::Embedded(Double::start(DoubleConfig::new().address(address).realm(realm.embedded())).await?)
            }
            Some(access) => {
                IdpKind::Keycloak(Provisioned::create(http.clone(), access.clone(), Arc::clone(&realm)).await?)
            }
        };
        let base_url = match &kind {
            IdpKind::Embedded(double) => double.base_url(),
            IdpKind::Keycloak(keycloak) => keycloak.base_url(),
        };
        let realm_url = format!("{base_url}/realms/{}", realm.name);
        let mut idp = Self { kind, http, realm, issuer: String::new(), realm_url };
        match idp.discover().await {
            Ok(issuer) => idp.issuer = issuer,
            Err(error) => {
                // The first error is the one to report.
                drop(idp.finish().await);
                return Err(error);
            }
        }
        Ok(idp)
    }

    /// What it says its issuer is: a Keycloak may be known by another name than it is reached by.
    async fn discover(&self) -> Result<String, DemoError> {
        let document = self.get("/.well-known/openid-configuration").await?;
        Ok(document["issuer"].as_str().unwrap_or(&self.realm_url).to_owned())
    }

    /// The realm's public keys.
    pub(super) async fn keys(&self) -> Result<Value, DemoError> {
        self.get("/protocol/openid-connect/certs").await
    }

    async fn get(&self, path: &str) -> Result<Value, DemoError> {
        let url = format!("{}{path}", self.realm_url);
        let what = format!("GET {url}");
        let answer = self.http.get(url).send().await.map_err(DemoError::unreachable(&what))?;
        let status = answer.status();
        let body = answer.json().await.unwrap_or_default();
        if status.is_success() { Ok(body) } else { Err(DemoError::refused(what, status.as_u16(), &body)) }
    }

    /// What it is, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self.kind {
            IdpKind::Embedded(_) => "embedded stand-in for Keycloak",
            IdpKind::Keycloak(_) => "Keycloak",
        }
    }

    /// Ends it: the embedded one stops, from a real one the realm is deleted.
    pub(super) async fn finish(self) -> Result<(), DemoError> {
        match self.kind {
            IdpKind::Embedded(double) => double.shutdown().await,
            IdpKind::Keycloak(keycloak) => keycloak.delete().await?,
        }
        Ok(())
    }
}

fn client(keycloak: Option<&KeycloakAccess>) -> Result<reqwest::Client, DemoError> {
    let builder = match keycloak {
        Some(KeycloakAccess { ca_pem: Some(pem), .. }) => http::client_builder()
            .tls_certs_only(Certificate::from_pem_bundle(pem).map_err(DemoError::unreachable("Keycloak's CAs"))?),
        Some(access) if access.url.scheme() == "https" => http::client_builder(),
        // Plain HTTP needs no authorities, and a container may have none to offer.
        _ => http::client_builder().tls_certs_only([]),
    };
    builder.build().map_err(DemoError::unreachable("an HTTP client"))
}
