//! The HTTP port: one request, one answer, or how the transport failed.
//!
//! An implementation must never retry, never follow a redirect, and must say [`TransportFailure::Connect`] only where
//! not one byte of the request can have arrived: callers send again after it.

use async_trait::async_trait;
use bytes::Bytes;

use crate::request::HttpRequest;

/// An answer as it arrived. `Debug` shows no body: it may hold tokens.
#[derive(Clone)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// The `Content-Type`, if there was one.
    pub content_type: Option<String>,
    /// The whole body.
    pub body: Bytes,
}

impl std::fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HttpAnswer({}, {:?}, {} bytes)", self.status, self.content_type, self.body.len())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportFailure {
    /// No connection: refused, name not found, TLS not agreed on, no connection in time. The request was not sent.
    #[error("no connection")]
    Connect,
    /// No complete answer in time; the request may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke; the request may have arrived.
    #[error("the connection broke")]
    Interrupted,
    /// The answer is longer than any this crate asks for.
    #[error("the answer is too long")]
    TooLong,
}

/// Sends requests.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends one request once and reads the whole answer.
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, TransportFailure>;
}
