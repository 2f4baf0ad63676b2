//! The HTTP port: one request, one answer, or how the transport failed.
//!
//! An implementation must never retry, never follow a redirect, and must say [`TransportFailure::Connect`] only where
//! not one byte of the request can have arrived: callers send again after it.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

/// A form's member. `Debug` shows the value only where it is no secret by its name.
#[derive(Clone)]
pub struct Param {
    /// The name.
    pub name: &'static str,
    value: Zeroizing<String>,
}

impl Param {
    /// A member and its value.
    pub(crate) fn new(name: &'static str, value: &str) -> Self {
        Self { name, value: Zeroizing::new(value.to_owned()) }
    }

    /// The value: for whoever sends it.
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A list of what may be shown, not of what must be hidden: a new member is hidden until someone decides.
        let open =
            ["grant_type", "client_id", "scope", "requested_token_type", "subject_token_type", "token_type_hint"];
        let shown = if open.contains(&self.name) { self.value.as_str() } else { "[redacted]" };
        write!(f, "{}={shown}", self.name)
    }
}

/// One request. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// GET or POST.
    pub method: Method,
    /// Where to.
    pub url: Url,
    /// The form of a POST.
    pub form: Vec<Param>,
    /// Headers beyond those that HTTP itself needs. One that is secret is marked as sensitive.
    pub headers: HeaderMap,
    /// How long the answer is waited for, where that is not the client's usual time.
    pub patience: Option<Duration>,
}

impl HttpRequest {
    pub(crate) fn new(method: Method, url: &Url, form: Vec<Param>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if method == Method::POST {
            let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form_type);
        }
        Self { method, url: url.clone(), form, headers, patience: None }
    }

    /// Asks for a document.
    pub(crate) fn get(url: &Url) -> Self {
        Self::new(Method::GET, url, Vec::new())
    }

    /// The form as it goes over the wire; empty for a GET.
    pub fn body(&self) -> Zeroizing<Vec<u8>> {
        // Room for the worst case, so that growing leaves no copies of secrets behind.
        let room = self.form.iter().map(|param| param.name.len() + 3 * param.value.len() + 2).sum();
        let pairs = self.form.iter().map(|param| (param.name, param.expose()));
        let text = form_urlencoded::Serializer::new(String::with_capacity(room)).extend_pairs(pairs).finish();
        Zeroizing::new(text.into_bytes())
    }
}

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

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

/// An answer, or why there is none.
pub type HttpResult = Result<HttpAnswer, TransportFailure>;

/// Sends requests.
#[async_trait]
pub trait HttpClient: Send + Sync {
    /// Sends one request once and reads the whole answer.
    async fn send(&self, request: HttpRequest) -> Result<HttpAnswer, TransportFailure>;
}
