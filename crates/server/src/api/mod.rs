//! HTTP for modules: parse, call the use case, answer. One endpoint per file.
//!
//! Everything that goes wrong leaves as `application/problem+json`. Nothing here decides about a job, renews anything or
//! knows the reconciler; the only place a token is written is the answer to a read.

mod context;
mod guard;
mod jobs;
mod limits;
mod list;
mod openapi;
mod read;
mod recorded;
mod register;
mod release;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, put};
use tokenvault_core::ports::Clock;

pub use context::Callers;
pub use jobs::{Call, Jobs};
pub use limits::Allowance;
pub use recorded::Recorded;

use tokenvault_vault::journal::Journal;

use crate::config::Server;
use crate::telemetry::metrics::Metrics;
use crate::tls;
use crate::web;

/// The headers that are read here, in lower case. The listener leaves out all others before anybody has seen them.
const HEADERS: &[&str] = &[
    "content-type",
    "if-none-match",
    context::TENANT,
    web::OKAPI_REQUEST_ID,
    web::REQUEST_ID,
    // Of a trace (W3C Trace Context).
    "traceparent",
    "tracestate",
];

/// What holds for requests.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The longest body, in bytes.
    pub max_body: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long a whole request may take.
    pub request_timeout: Duration,
    /// How many requests may be under way at a time.
    pub max_concurrent_requests: usize,
    /// What each caller is allowed.
    pub caller: Allowance,
    /// How long a read waits where it does not say.
    pub default_wait: Duration,
    /// The longest a read may ask to wait.
    pub max_wait: Duration,
}

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    /// The use cases.
    pub jobs: Arc<dyn Jobs>,
    /// Who may do what.
    pub callers: Arc<dyn Callers>,
    /// The limits.
    pub limits: Arc<Limits>,
    /// Where refusals are counted.
    pub metrics: Arc<Metrics>,
    /// Where refusals are recorded.
    pub journal: Arc<dyn Journal>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The routes for modules.
pub fn router(app: App) -> Router {
    Router::new()
        .route("/tokens", get(list::list))
        .route("/tokens/{job_id}", put(register::register).get(read::read).delete(release::release))
        .route("/openapi.json", get(openapi::document))
        .route("/problems/{code}", get(web::describe::describe))
        .fallback(web::no_such_resource)
        .layer(from_fn_with_state(guard::Guard::new(app.clone()), guard::guard))
        .layer(from_fn(web::catch_panic))
        .layer(from_fn_with_state(app.clone(), recorded::refusals))
        .layer(from_fn_with_state(Arc::clone(&app.metrics), web::frame))
        .with_state(app)
}

/// What modules' connections are allowed.
pub fn connection_limits(server: &Server) -> tls::Limits {
    tls::Limits {
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

impl From<&Server> for Limits {
    fn from(server: &Server) -> Self {
        Self {
            max_body: server.max_body,
            body_timeout: server.body_timeout,
            request_timeout: server.request_timeout,
            max_concurrent_requests: server.max_concurrent_requests,
            caller: Allowance {
                rate: server.caller_rate,
                burst: server.caller_burst,
                register_rate: server.register_rate,
                register_burst: server.register_burst,
                concurrency: server.caller_concurrency,
            },
            default_wait: server.default_wait,
            max_wait: server.max_wait,
        }
    }
}
