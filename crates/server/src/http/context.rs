//! The frame around every request: its id, its log line, its problem if it has one, and who is calling.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_core::ids::ModuleName;
use tracing::Instrument;

use super::jobs::Call;
use super::limits::{Places, Room};
use super::recorded::Reached;
use super::{App, answer};
use crate::callers::Peer;
use crate::problem::{Code, Problem};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::traces;
use crate::vault::Caller;

pub(super) const OKAPI_REQUEST_ID: &str = "x-okapi-request-id";
pub(super) const REQUEST_ID: &str = "x-request-id";
pub(super) const TENANT: &str = "x-okapi-tenant";

/// What a caller wants to do; a policy grants each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `PUT`
    Register,
    /// `GET`
    Read,
    /// `DELETE`
    Release,
}

/// Knows which module a certificate belongs to and what it may do.
pub trait Callers: Send + Sync {
    /// The caller, if it may do this in the tenant it names (or in its only one).
    fn admit(&self, peer: &Peer, tenant: Option<&str>, action: Action) -> Result<Caller, Problem>;

    /// The module a certificate belongs to, whatever it may do.
    fn module(&self, peer: &Peer) -> Option<ModuleName>;
}

/// The module that sends a request.
pub(super) fn module_of(app: &App, request: &Request) -> Option<ModuleName> {
    app.callers.module(request.extensions().get::<Peer>()?)
}

/// The id of a request, as it was sent if it is fit to be echoed.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
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
pub(crate) async fn frame(State(metrics): State<Arc<Metrics>>, mut request: Request, next: Next) -> Response {
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
    let problem = answer::problem_of(&mut response);
    if let Some(problem) = &problem {
        metrics.rejected(problem.code.as_str());
        response = answer::write(problem, &id.0, response);
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

/// A caller that was admitted to an action: the extractor says which by its type parameter's constant.
pub(super) struct Admitted<const ACTION: u8>(pub(super) Call);

pub(super) const REGISTER: u8 = 0;
pub(super) const READ: u8 = 1;
pub(super) const RELEASE: u8 = 2;

impl<const ACTION: u8> FromRequestParts<App> for Admitted<ACTION> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let unknown = || Problem::new(Code::CallerUnknown, "The connection has no client certificate.");
        let peer = parts.extensions.get::<Peer>().ok_or_else(unknown)?;
        let mut tenants = parts.headers.get_all(TENANT).iter();
        let tenant = match (tenants.next(), tenants.next()) {
            (None, _) => None,
            (Some(one), None) => Some(one.to_str().map_err(|_| ambiguous())?),
            _ => return Err(ambiguous()),
        };
        let action = match ACTION {
            REGISTER => Action::Register,
            READ => Action::Read,
            _ => Action::Release,
        };
        let caller = app.callers.admit(peer, tenant, action)?;
        tracing::debug!(module = %caller.module, tenant = %caller.tenant, "the caller was admitted");
        let reached = parts.extensions.get::<Reached>().cloned().unwrap_or_default();
        let request_id = parts.extensions.get::<RequestId>().map_or_else(|| "".into(), |id| Arc::clone(&id.0));
        let (places, room) = (Places::of(&parts.extensions), Room::of(&parts.extensions));
        Ok(Self(Call { caller, peer: peer.clone(), request_id, reached, places, room }))
    }
}

fn ambiguous() -> Problem {
    Problem::new(Code::InvalidRequest, "x-okapi-tenant must be one tenant.")
}
