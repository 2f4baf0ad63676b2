//! HTTP for operators: parse, call the use case, answer. One resource per file.
//!
//! The listener has authorities and a policy of its own: a module's certificate is worth nothing here. An operator sees the
//! jobs and their state, and can renew, revoke, pause, promote a key and seal anew. No answer and no event may hold a
//! token, a key or the hash of one. Every change is recorded in the journal before it is made and after, under the operator's
//! name.

mod admission;
mod audited_action;
mod commands;
mod context;
mod cursor;
mod events;
mod guard;
mod job_body;
mod jobs;
mod keys;
mod openapi;
mod operator_policy;
mod operators;
mod pause;
mod reseal;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;

pub use commands::{
    AdminCommands, JobsPage, JobsQuery, KeyHolders, KeyOverview, OperatorCall, RequestedRenewal, RevokedJobs,
    VaultStatus,
};
pub use context::AdminContext;
pub use cursor::Cursor;
pub use operator_policy::{OperatorPolicy, OperatorRefusal, Role};
pub use operators::{Operator, Operators};
pub use service::AdminService;

use crate::tls;
use crate::web;

/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;
/// Those of one operator's.
const OPERATORS_CONNECTIONS: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);

/// The routes for operators.
pub fn router(context: AdminContext) -> Router {
    let guard = guard::OperatorGuard::new(Arc::clone(&context.operators));
    Router::new()
        .merge(status::routes())
        .merge(jobs::routes())
        .merge(users::routes())
        .merge(keys::routes())
        .merge(reseal::routes())
        .merge(pause::routes())
        .merge(events::routes())
        .route("/openapi.json", get(openapi::document))
        .route("/problems/{code}", get(web::describe::describe))
        .fallback(web::no_such_resource)
        .layer(from_fn_with_state(guard, guard::guard))
        .layer(from_fn(web::catch_panic))
        .layer(from_fn_with_state(Arc::clone(&context.metrics), web::frame))
        .with_state(context)
}

/// What operators' connections are allowed.
pub fn connection_limits() -> tls::ConnectionLimits {
    tls::ConnectionLimits {
        max_connections: MAX_CONNECTIONS,
        max_handshakes: MAX_CONNECTIONS,
        caller_connections: OPERATORS_CONNECTIONS,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        header_timeout: HEADER_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        write_timeout: tls::WRITE_TIMEOUT,
        answer_timeout: guard::REQUEST_TIMEOUT + tls::WRITE_TIMEOUT,
        heads: tls::Heads::Whole,
    }
}
