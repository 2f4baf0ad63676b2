//! Stands before Keycloak, hands every call on, and notes which trace it belongs to.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use tokenvault_tests::harness::Result;
use tokio::net::TcpListener;

/// A running one.
pub(super) struct TraceparentProxy {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Shared {
    upstream: String,
    heard: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

impl TraceparentProxy {
    pub(super) async fn before(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, heard) = (format!("http://{}", listener.local_addr()?), Arc::default());
        let http = reqwest::Client::builder().no_proxy().build()?;
        let shared = Shared { upstream: upstream.to_owned(), heard: Arc::clone(&heard), http };
        let router = Router::new().fallback(pass).with_state(shared);
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, heard })
    }

    pub(super) fn url(&self) -> String {
        self.address.clone()
    }

    /// The `traceparent` of each call that had one.
    pub(super) fn traceparents(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass(State(shared): State<Shared>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(trace) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
        shared.heard.lock().unwrap_or_else(PoisonError::into_inner).push(trace.to_owned());
    }
    let mut request = shared.http.request(method, format!("{}{uri}", shared.upstream)).body(body);
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let mut response = (status, answer.bytes().await.unwrap_or_default()).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
