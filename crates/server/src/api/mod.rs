//! HTTP for modules: parse, call the use case, answer. One endpoint per file.
//!
//! Every error leaves as `application/problem+json`. Nothing here decides about a job, renews anything or knows the
//! reconciler. A token is written in one place only: in the answer to a read.

mod admission;
mod audited_jobs;
mod context;
mod guard;
mod job_body;
mod jobs;
mod limits;
mod list;
mod openapi;
mod read;
mod refusals;
mod register;
mod release;
mod routes;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, put};

pub use audited_jobs::AuditedJobs;
pub use context::{ApiContext, RequestLimits};
pub use jobs::{Jobs, ModuleCall};
pub use limits::Allowance;
pub use service::ApiService;

use crate::config::ServerSection;
use crate::tls;
use crate::web;

/// The headers that are read here, in lower case. The listener leaves out all others before a handler can see them.
const HEADERS: &[&str] = &[
    "content-type",
    "if-none-match",
    admission::TENANT,
    web::OKAPI_REQUEST_ID,
    web::REQUEST_ID,
    // Of a trace (W3C Trace Context).
    "traceparent",
    "tracestate",
];

/// What answers modules.
pub fn service(context: ApiContext) -> ApiService {
    let guard = guard::RequestGuard::new(context.clone());
    let router = Router::new()
        .route(routes::JOBS, get(list::list))
        .route(routes::JOB, put(register::register).get(read::read).delete(release::release))
        .route("/openapi.json", get(openapi::document))
        .route("/problems/{code}", get(web::describe::describe))
        .fallback(web::no_such_resource)
        .layer(from_fn_with_state(guard.clone(), guard::guard))
        .layer(from_fn(web::catch_panic))
        .layer(from_fn_with_state(context.clone(), refusals::record))
        .layer(from_fn_with_state(Arc::clone(&context.metrics), web::frame))
        .with_state(context.clone());
    ApiService::new(context, guard, router)
}

/// What modules' connections are allowed.
pub fn connection_limits(server: &ServerSection) -> tls::ConnectionLimits {
    tls::ConnectionLimits {
        max_connections: server.max_connections,
        max_handshakes: server.max_handshakes,
        caller_connections: server.caller_connections,
        handshake_timeout: server.handshake_timeout,
        header_timeout: server.header_timeout,
        idle_timeout: server.idle_timeout,
        write_timeout: tls::WRITE_TIMEOUT,
        answer_timeout: server.request_timeout + tls::WRITE_TIMEOUT,
        heads: tls::Heads::Sifted(HEADERS),
    }
}
