//! The frame around every request, whoever the listener is for: its id, its log line, its trace, and its problem if it has
//! one.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span};

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

    /// That of a request with these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        let sent = [OKAPI_REQUEST_ID, REQUEST_ID].into_iter().find_map(|name| headers.get(name)?.to_str().ok());
        match sent.filter(|text| is_fit(text)) {
            Some(text) => Self(text.into()),
            None => Self(fresh().into()),
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

/// A new id. It only has to differ from others, so it is counted on from a random number instead of asking the system each time.
fn fresh() -> String {
    static FIRST: LazyLock<u64> = LazyLock::new(|| tokenvault_core::ports::Entropy::bits(&crate::entropy::OsEntropy));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    // An odd factor makes different numbers of different ones, and neighbours look unlike.
    let bits = FIRST.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    format!("{bits:016x}")
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
    let head = RequestHead {
        id: RequestId::of(request.headers()),
        method: request.method().clone(),
        route: request
            .extensions()
            .get::<MatchedPath>()
            .map_or("unmatched".into(), |path| path.as_str().to_owned().into()),
    };
    request.extensions_mut().insert(head.id.clone());
    let trace = traces::request(&head.method, &head.route, request.headers());
    framed(&metrics, &head, trace, next.run(request)).await
}

/// What the frame says of a request.
pub struct RequestHead {
    /// Its id.
    pub id: RequestId,
    /// Its method.
    pub method: Method,
    /// The route it fits, and never its path.
    pub route: Cow<'static, str>,
}

/// Does what a request asks for, and frames the answer.
pub async fn framed(
    metrics: &Metrics,
    RequestHead { id, method, route }: &RequestHead,
    trace: Span,
    work: impl Future<Output = Response>,
) -> Response {
    let span =
        tracing::info_span!("request", http.request.method = %method, http.route = &**route, request_id = &*id.0);
    let mut response = traces::within(&trace, work.instrument(span.clone())).await;
    traces::answered(&trace, response.status().as_u16());
    let problem = problem_of(&mut response);
    if let Some(problem) = &problem {
        metrics.process.rejected(problem.code.as_str());
        response = write(problem, &id.0, response);
    }
    let code = problem.as_ref().map(|problem| problem.code.as_str());
    span.in_scope(|| tracing::info!(http.response.status_code = response.status().as_u16(), code, "answered"));
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID_ANSWERED, id);
    }
    response
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// The header that tells the caller the id.
const REQUEST_ID_ANSWERED: HeaderName = HeaderName::from_static(OKAPI_REQUEST_ID);
