//! The stage's identity provider: the embedded one, or a realm of the stage's own in a real Keycloak.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keycloak_double::{Double, DoubleConfig};
use reqwest::{Certificate, redirect, retry};
use serde_json::Value;
use tokenvault_core::ports::Entropy;

use super::error::DemoError;
use super::keycloak::Provisioned;
use super::realm::{Realm, random_hex};
use super::stage::{KeycloakAccess, Setting};

/// A running identity provider with the stage's realm.
pub(super) struct Idp {
    kind: Kind,
    pub(super) http: reqwest::Client,
    pub(super) realm: Arc<Realm>,
    /// `iss` of its tokens.
    pub(super) issuer: String,
    /// Where the realm is reached.
    pub(super) realm_url: String,
}

enum Kind {
    Embedded(Double),
    Keycloak(Provisioned),
}

impl Idp {
    pub(super) async fn start(setting: &Setting, entropy: &dyn Entropy) -> Result<Self, DemoError> {
        let http = client(setting.keycloak.as_ref())?;
        let name = match setting.keycloak {
            // Others may use the same Keycloak.
            Some(_) => format!("tokenvault-{}", random_hex(entropy, 4)),
            None => setting.shape.tenant().to_owned(),
        };
        let realm = Arc::new(Realm::new(name, setting.shape, setting.at_ttl, entropy));
        let kind = match &setting.keycloak {
            None => {
                let address = SocketAddr::from(([127, 0, 0, 1], setting.ports.idp));
                Kind::Embedded(Double::start(DoubleConfig::new().address(address).realm(realm.embedded())).await?)
            }
            Some(access) => {
                Kind::Keycloak(Provisioned::create(http.clone(), access.clone(), Arc::clone(&realm)).await?)
            }
        };
        let base_url = match &kind {
            Kind::Embedded(double) => double.base_url(),
            Kind::Keycloak(keycloak) => keycloak.base_url(),
        };
        let realm_url = format!("{base_url}/realms/{}", realm.name);
        let mut idp = Self { kind, http, realm, issuer: String::new(), realm_url };
        match idp.discover().await {
            Ok(issuer) => idp.issuer = issuer,
            Err(error) => {
                // The first error is the one to tell.
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
            Kind::Embedded(_) => "embedded stand-in for Keycloak",
            Kind::Keycloak(_) => "Keycloak",
        }
    }

    /// Ends it: the embedded one stops, from a real one the realm is deleted.
    pub(super) async fn finish(self) -> Result<(), DemoError> {
        match self.kind {
            Kind::Embedded(double) => double.shutdown().await,
            Kind::Keycloak(keycloak) => keycloak.delete().await?,
        }
        Ok(())
    }
}

/// An HTTP client that does as it is told: no proxy from the environment, no redirects, no retries.
pub(super) fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(40))
}

fn client(keycloak: Option<&KeycloakAccess>) -> Result<reqwest::Client, DemoError> {
    let builder = match keycloak {
        Some(KeycloakAccess { ca_pem: Some(pem), .. }) => builder()
            .tls_certs_only(Certificate::from_pem_bundle(pem).map_err(DemoError::unreachable("Keycloak's CAs"))?),
        Some(access) if access.url.scheme() == "https" => builder(),
        // Plain HTTP needs no authorities, and a container may have none to offer.
        _ => builder().tls_certs_only([]),
    };
    builder.build().map_err(DemoError::unreachable("an HTTP client"))
}
