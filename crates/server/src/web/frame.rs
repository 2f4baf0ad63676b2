//! The frame around every request, whoever the listener is for: its id, its log line, its trace, and its problem if it has
//! one.

use std::fmt;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument;

use super::problem_response::{problem_of, write};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces;

/// A request's id, as FOLIO's gateway and modules send it.
pub const OKAPI_REQUEST_ID: &str = "x-okapi-request-id";
/// The same, as everybody else does.
pub const REQUEST_ID: &str = "x-request-id";

/// The id of a request, as it was sent if it is fit to be echoed.
#[derive(Debug, Clone)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// As shared text.
    pub fn shared(&self) -> Arc<str> {
        Arc::clone(&self.0)
    }

    fn of(headers: &HeaderMap) -> Self {
        let sent = [OKAPI_REQUEST_ID, REQUEST_ID].into_iter().find_map(|name| headers.get(name)?.to_str().ok());
        match sent.filter(|text| is_fit(text)) {
            Some(text) => Self(text.into()),
            None => Self(format!("{:016x}", fresh_bits()).into()),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_fit(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'/' | b'-'))
}

fn fresh_bits() -> u64 {
    tokenvault_core::ports::Entropy::bits(&crate::entropy::OsEntropy)
}

/// What callers send along that is somebody's secret and of no use here.
const SECRETS: &[&str] =
    &["x-okapi-token", "x-okapi-refresh-token", "authorization", "proxy-authorization", "cookie", "cookie2"];

/// Frames a request; its id goes along as an extension. Before anything else what must not be held is let go: the modules'
/// listener has wiped it by then, another one has not.
pub async fn frame(State(metrics): State<Arc<Metrics>>, mut request: Request, next: Next) -> Response {
    for secret in SECRETS {
        request.headers_mut().remove(*secret);
    }
    let id = RequestId::of(request.headers());
    request.extensions_mut().insert(id.clone());
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span = tracing::info_span!("request", http.request.method = %request.method(), http.route = route, request_id = &*id.0);
    let trace = traces::request(request.method(), &route, request.headers());
    let mut response = traces::within(&trace, next.run(request).instrument(span.clone())).await;
    traces::answered(&trace, response.status().as_u16());
    let problem = problem_of(&mut response);
    if let Some(problem) = &problem {
        metrics.process.rejected(problem.code.as_str());
        response = write(problem, &id.0, response);
    }
    let code = problem.as_ref().map(|problem| problem.code.as_str());
    span.in_scope(|| tracing::info!(http.response.status_code = response.status().as_u16(), code, "answered"));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(OKAPI_REQUEST_ID, id);
    }
    response
}
