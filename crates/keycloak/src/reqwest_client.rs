//! The HTTP port on reqwest: no proxy from the environment, no redirects, no retries, a bounded answer, and no connection
//! that is kept though nobody answers over it.

mod pools;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use reqwest::{Certificate, redirect, retry};
use zeroize::Zeroizing;

use crate::http::{HttpAnswer, HttpClient, TransportFailure};
use crate::request::HttpRequest;
pub use pools::OnLeft;
use pools::Pools;

/// With HTTP/2, the other side is asked whether it is there after so long without a word from it, also while nothing is
/// under way.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Whom to believe that they are Keycloak.
#[derive(Debug, Clone, Default)]
pub enum Trust {
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
    pub trust: Trust,
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
            trust: Trust::System,
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
    /// TLS could not be set up; with [`Trust::System`] most likely because the system has no authorities.
    #[error("TLS could not be set up: {0}")]
    Tls(#[source] reqwest::Error),
}

/// A pool of connections for each address. Clones share them.
#[derive(Debug, Clone)]
pub struct ReqwestClient(Arc<Pools>);

impl ReqwestClient {
    /// A client. Makes aws-lc-rs the process's TLS provider if there is none yet.
    pub fn new(settings: &HttpSettings) -> Result<Self, ClientBuildError> {
        Ok(Self(Arc::new(Pools::new(settings)?)))
    }

    /// The same, telling each time that the connections to an address are left because nobody answers over them.
    pub fn telling(settings: &HttpSettings, on_left: OnLeft) -> Result<Self, ClientBuildError> {
        Ok(Self(Arc::new(Pools::new(settings)?.telling(on_left))))
    }

    async fn read(&self, mut response: reqwest::Response) -> Result<Bytes, TransportFailure> {
        let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
        while let Some(chunk) = response.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > self.0.max_answer() {
                return Err(TransportFailure::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Bytes::from_owner(Wiped(body)))
    }

    async fn exchange(&self, client: &reqwest::Client, request: HttpRequest) -> Result<HttpAnswer, TransportFailure> {
        let body = Bytes::from_owner(Wiped(request.body()));
        let outgoing = client.request(request.method, request.url).headers(request.headers).body(body);
        let outgoing = match request.patience {
            Some(patience) => outgoing.timeout(patience),
            None => outgoing,
        };
        let response = outgoing.send().await.map_err(|error| failure(&error))?;
        let status = response.status().as_u16();
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(HttpAnswer { status, content_type, body: self.read(response).await? })
    }
}

fn client(settings: &HttpSettings) -> Result<reqwest::Client, ClientBuildError> {
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
        Trust::System => builder,
        Trust::Nobody => builder.tls_certs_only([]),
        Trust::Only(bundle) => {
            let authorities = Certificate::from_pem_bundle(bundle).ok().filter(|found| !found.is_empty());
            builder.tls_certs_only(authorities.ok_or(ClientBuildError::Authorities)?)
        }
    };
    builder.build().map_err(ClientBuildError::Tls)
}

/// A body that is wiped when the last handle to it goes.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[async_trait]
impl HttpClient for ReqwestClient {
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, TransportFailure> {
        let (url, pool) = (request.url.clone(), self.0.of(&request.url));
        let answered_before = pool.answered();
        // Of a call with a patience of its own the answer may be the only one there is.
        let may_be_repeated = request.patience.is_none();
        let answer = tokio::select! {
            answer = self.exchange(&pool.client, request) => answer,
            () = pool.left(), if may_be_repeated => Err(TransportFailure::Timeout),
        };
        match &answer {
            Ok(_) | Err(TransportFailure::TooLong) => pool.answer(),
            Err(TransportFailure::Timeout) => self.0.unanswered(&url, &pool, answered_before),
            Err(TransportFailure::Connect | TransportFailure::Interrupted) => {}
        }
        answer
    }
}

/// A connection that was never made is the one failure that proves that nothing was sent. hyper's pool may take another
/// connection for a request of which not a byte was written; nothing else is repeated.
fn failure(error: &reqwest::Error) -> TransportFailure {
    if error.is_connect() || error.is_builder() {
        TransportFailure::Connect
    } else if error.is_timeout() {
        TransportFailure::Timeout
    } else {
        TransportFailure::Interrupted
    }
}

#[cfg(test)]
mod tests;
