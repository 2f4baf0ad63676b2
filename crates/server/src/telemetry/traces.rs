//! The spans that traces are made of: what a request, a renewal, an operation of the store and a call of Keycloak took.
//! They are told to a collector where the build has the feature `otlp` and `telemetry.otlp_endpoint` is set.
//!
//! Only the spans made here are told, and only their own attributes, which follow `OpenTelemetry`'s conventions for HTTP and
//! databases: the route and never the path, no user, no job, no token.

use axum::http::{HeaderMap, Method};
use tokenvault_core::ports::StoreError;
use tokenvault_vault::spans::TARGET;
use tracing::Span;
use tracing::field::Empty;
use tracing::instrument::{Instrument, Instrumented};

use super::otlp;

/// A request of a caller's, which may be a part of a trace of the caller's.
pub fn request(method: &Method, route: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: TARGET, "request", otel.kind = "server", otel.name = format!("{method} {route}"), otel.status_code = Empty,
        http.request.method = %method, http.route = route, url.scheme = "https",
        http.response.status_code = Empty, error.r#type = Empty,
    );
    if !span.is_disabled() {
        otlp::follow(&span, headers);
    }
    span
}

/// How it was answered.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", "ERROR").record("error.type", status);
    }
}

tokio::task_local! {
    /// The span of the request in hand.
    static REQUEST: Span;
}

/// Carries a request out inside its span.
pub async fn within<F: Future>(request: &Span, work: F) -> F::Output {
    REQUEST.scope(request.clone(), work.instrument(request.clone())).await
}

/// Lets work that goes on in a task of its own belong to the request it comes from, in the log and in the trace: each of the
/// two sees its own spans only.
pub fn along<F: Future>(work: F) -> Instrumented<Instrumented<F>> {
    let request = REQUEST.try_with(Span::clone).unwrap_or_else(|_| Span::none());
    work.in_current_span().instrument(request)
}

/// An operation of the store.
pub fn store(operation: &'static str) -> Span {
    tracing::info_span!(
        target: TARGET, "store", otel.kind = "client", otel.name = operation, otel.status_code = Empty,
        db.system.name = "redis", db.operation.name = operation, error.r#type = Empty,
    )
}

/// What the store said instead of an answer.
pub fn store_failed(span: &Span, error: &StoreError) {
    let kind = match error {
        StoreError::Unavailable(kind) => kind,
        _ => "refused",
    };
    span.record("otel.status_code", "ERROR").record("error.type", kind);
}

/// Tells Keycloak, or whoever stands before it, which trace a call belongs to.
pub fn carry(headers: &mut HeaderMap) {
    let span = Span::current();
    if !span.is_disabled() {
        otlp::inject(&span, headers);
    }
}
