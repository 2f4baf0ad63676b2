//! What protects the process from its requests: a place for each, a time-out, and a net under a panic.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tokio::sync::Semaphore;

use crate::problem::{Code, Problem};

/// A place among the requests under way, and no longer than the time-out.
pub(super) async fn guard(
    State((timeout, places)): State<(Duration, Arc<Semaphore>)>,
    request: Request,
    next: Next,
) -> Response {
    let Ok(_place) = places.try_acquire() else {
        return Problem::new(Code::TooManyRequests, "Too many requests are under way.").into_response();
    };
    let code = match *request.method() {
        Method::PUT => Code::IdpUnavailable,
        Method::GET => Code::TokenNotReady,
        _ => Code::StoreUnavailable,
    };
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(code, "The request took too long.").into_response(),
    }
}

/// A panic becomes a 500; what it said goes to the log of the panic hook and not to the caller.
pub(crate) async fn catch_panic(request: Request, next: Next) -> Response {
    match std::panic::AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Internal, "Something went wrong inside the vault.").into_response(),
    }
}
