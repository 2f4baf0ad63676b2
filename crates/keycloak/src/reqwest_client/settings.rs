//! How Keycloak is reached, and the client with these settings.

use std::time::Duration;

use reqwest::{Certificate, redirect, retry};

/// With HTTP/2, the other side is asked whether it is there after so long without a word from it, also while nothing is
/// under way.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Whom to believe that they are Keycloak.
#[derive(Debug, Clone, Default)]
pub enum TrustAnchors {
    /// The authorities the operating system trusts.
    #[default]
    System,
    /// The authorities in this PEM bundle, and no other.
    Only(Vec<u8>),
    /// Nobody: for Keycloak on plain HTTP, and where the system has no authorities to offer.
    Nobody,
}

/// How to reach Keycloak.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Whom to trust.
    pub trust: TrustAnchors,
    /// For a connection: name, TCP and TLS together. What fails within it was certainly not sent.
    pub connect_timeout: Duration,
    /// For a whole call, the connection included; longer than the former.
    pub request_timeout: Duration,
    /// How long a connection may idle before it is given up. Shorter than what load balancers do (commonly 60 seconds):
    /// a request into a connection that the other side is just closing has an unknown outcome.
    pub idle_timeout: Duration,
    /// With HTTP/2, after which a connection is closed whose other side does not say that it is there. Not shorter than the
    /// patience with a refresh: that is waited for to its end, for what breaks off earlier says nothing of how busy Keycloak is.
    pub ping_timeout: Duration,
    /// The longest answer that is read, in bytes.
    pub max_answer: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            trust: TrustAnchors::System,
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(15),
            ping_timeout: Duration::from_secs(20),
            max_answer: 256 * 1024,
        }
    }
}

/// Why there can be no client with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ClientBuildError {
    /// The bundle holds no certificate, or something that is none.
    #[error("the bundle of certificate authorities cannot be read")]
    Authorities,
    /// TLS could not be set up; with [`TrustAnchors::System`] most likely because the system has no authorities.
    #[error("TLS could not be set up: {0}")]
    Tls(#[source] reqwest::Error),
}

pub(super) fn client(settings: &HttpSettings) -> Result<reqwest::Client, ClientBuildError> {
    // An error says that there is one already.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(retry::never())
        .connect_timeout(settings.connect_timeout)
        .timeout(settings.request_timeout)
        .pool_idle_timeout(settings.idle_timeout)
        .http2_keep_alive_interval(PING_EVERY)
        .http2_keep_alive_timeout(settings.ping_timeout)
        .http2_keep_alive_while_idle(true)
        .tcp_nodelay(true)
        .user_agent(concat!("tokenvault/", env!("CARGO_PKG_VERSION")));
    let builder = match &settings.trust {
        TrustAnchors::System => builder,
        TrustAnchors::Nobody => builder.tls_certs_only([]),
        TrustAnchors::Only(bundle) => {
            let authorities = Certificate::from_pem_bundle(bundle).ok().filter(|found| !found.is_empty());
            builder.tls_certs_only(authorities.ok_or(ClientBuildError::Authorities)?)
        }
    };
    builder.build().map_err(ClientBuildError::Tls)
}
