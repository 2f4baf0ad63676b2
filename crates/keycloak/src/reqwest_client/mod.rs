//! The HTTP port on reqwest: no proxy from the environment, no redirects, no retries, a bounded answer, and no connection
//! that is kept though nobody answers over it.

mod pools;
mod settings;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use zeroize::Zeroizing;

use crate::http::{HttpAnswer, HttpClient, HttpRequest, TransportFailure};
pub use pools::OnPoolLeft;
use pools::OriginPools;
pub use settings::{ClientBuildError, HttpSettings, TrustAnchors};

/// A pool of connections for each address. Clones share them.
#[derive(Debug, Clone)]
pub struct ReqwestClient(Arc<OriginPools>);

impl ReqwestClient {
    /// A client. Makes aws-lc-rs the process's TLS provider if there is none yet.
    pub fn new(settings: &HttpSettings) -> Result<Self, ClientBuildError> {
        Ok(Self(Arc::new(OriginPools::new(settings)?)))
    }

    /// The same, telling each time that the connections to an address are left because nobody answers over them.
    pub fn telling(settings: &HttpSettings, on_left: OnPoolLeft) -> Result<Self, ClientBuildError> {
        Ok(Self(Arc::new(OriginPools::new(settings)?.telling(on_left))))
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
