//! Something in front of Keycloak that answers in its place: an outage page, an error, nonsense, or whatever a test thinks of.
//! What it does not answer it passes on, and everything while it is told to; it remembers the
//! tokens and secrets that went by, and the traces they belong to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::Result;

/// What it answers.
#[derive(Debug, Clone)]
pub struct CannedAnswer {
    /// The status.
    pub status: u16,
    /// The media type.
    pub media_type: &'static str,
    /// The body.
    pub body: String,
}

/// What is answered in Keycloak's place to a method, a path and a body; nothing where that is passed on.
type Instead = Box<dyn Fn(&Method, &str, &[u8]) -> Option<Response> + Send + Sync>;

struct Shared {
    upstream: String,
    instead: Instead,
    passes: AtomicBool,
    asked: AtomicUsize,
    secrets: Mutex<Vec<(String, String)>>,
    traceparents: Mutex<Vec<String>>,
    http: reqwest::Client,
}

const SECRET: &[&str] =
    &["access_token", "refresh_token", "id_token", "subject_token", "token", "client_assertion", "client_secret"];

impl Shared {
    fn note(&self, members: impl Iterator<Item = (String, String)>) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        for member in members.filter(|(name, _)| SECRET.contains(&name.as_str())) {
            if !secrets.contains(&member) {
                secrets.push(member);
            }
        }
    }
}

/// A running one; gone when dropped.
pub struct FakeKeycloak {
    address: SocketAddr,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl FakeKeycloak {
    /// In front of the Keycloak at `upstream`. Passes on the keys (every GET) and what is asked about a token, and answers every
    /// other POST with `canned`.
    pub async fn before(upstream: &str, canned: CannedAnswer) -> Result<Self> {
        Self::answering(upstream, move |method, path, _| {
            let asks = method == Method::GET || path.ends_with("/token/introspect");
            let CannedAnswer { status, media_type, body } = canned.clone();
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT);
            (!asks).then(|| (status, [(header::CONTENT_TYPE, media_type)], body).into_response())
        })
        .await
    }

    /// In front of the Keycloak at `upstream`: passes everything on.
    pub async fn passing(upstream: &str) -> Result<Self> {
        Self::answering(upstream, |_, _, _| None).await
    }

    /// In front of the Keycloak at `upstream`, with the answers that a test thinks of.
    pub async fn answering(
        upstream: &str,
        instead: impl Fn(&Method, &str, &[u8]) -> Option<Response> + Send + Sync + 'static,
    ) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            instead: Box::new(instead),
            passes: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
            secrets: Mutex::default(),
            traceparents: Mutex::default(),
            http: reqwest::Client::builder().no_proxy().build()?,
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, shared, serving })
    }

    /// Its address, as a base URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it passes everything on.
    pub fn pass(&self) {
        self.shared.passes.store(true, Ordering::SeqCst);
    }

    /// From now on it answers in Keycloak's place.
    pub fn stand_in(&self) {
        self.shared.passes.store(false, Ordering::SeqCst);
    }

    /// The tokens, assertions and client secrets that went by in either direction, with the names they went by.
    pub fn secrets(&self) -> Vec<(String, String)> {
        self.shared.secrets.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The `traceparent` of each call that was passed on and had one.
    pub fn traceparents(&self) -> Vec<String> {
        self.shared.traceparents.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How often it answered in Keycloak's place.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for FakeKeycloak {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !shared.passes.load(Ordering::SeqCst)
        && let Some(response) = (shared.instead)(&method, uri.path(), &body)
    {
        shared.asked.fetch_add(1, Ordering::SeqCst);
        return response;
    }
    if let Some(trace) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
        shared.traceparents.lock().unwrap_or_else(PoisonError::into_inner).push(trace.to_owned());
    }
    shared.note(url::form_urlencoded::parse(&body).map(|(name, value)| (name.into_owned(), value.into_owned())));
    let mut request = shared.http.request(method, format!("{}{uri}", shared.upstream)).body(body);
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).cloned();
    let body = answer.bytes().await.unwrap_or_default();
    let members: Option<serde_json::Map<String, serde_json::Value>> = serde_json::from_slice(&body).ok();
    let texts = members.into_iter().flatten().filter_map(|(name, value)| Some((name, value.as_str()?.to_owned())));
    shared.note(texts);
    let mut response = (status, body).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
