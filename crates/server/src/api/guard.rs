//! What protects the process from its requests: a permit for each, within its caller's quota, its turn there, and a time-out.
//!
//! The body of a known caller is read to its end before the answer is given.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_vault::problem::{Code, Problem};
use tokio::sync::Semaphore;

use super::admission::module_of;
use super::context::ApiContext;
use super::limits::{CallerLimits, CallerQuota};
use super::routes::is_list;
use crate::web::{RequestPermits, UnreadBody, answer};

/// What guards the requests of a listener.
#[derive(Clone)]
pub(super) struct RequestGuard {
    context: ApiContext,
    callers: Arc<CallerLimits>,
    permits: Arc<Semaphore>,
}

impl RequestGuard {
    pub(super) fn new(context: ApiContext) -> Self {
        Self {
            callers: Arc::new(CallerLimits::new(context.limits.caller)),
            permits: Arc::new(Semaphore::new(context.limits.max_concurrent_requests)),
            context,
        }
    }
}

/// Answers within the caller's quota. What the answer left of a known caller's body is discarded before the answer is given.
/// Nothing more is read of an unknown caller.
pub(super) async fn guard(State(guard): State<RequestGuard>, mut request: Request, next: Next) -> Response {
    let module = module_of(&guard.context, &request);
    let quota = guard.callers.quota(module.as_ref());
    let unread = module.map(|_| UnreadBody::of(&mut request));
    let max_body = guard.context.limits.max_body;
    let answered = admitted(guard, &quota, request, next).await;
    if let (Some(unread), Some(_held)) = (unread, quota.discard_permit()) {
        unread.discard(max_body).await;
    }
    answered
}

/// A place among the caller's requests and among all that are under way, and no longer than the time-out. The places stay
/// taken beyond that by work that goes on.
async fn admitted(guard: RequestGuard, quota: &CallerQuota, mut request: Request, next: Next) -> Response {
    let RequestGuard { context, permits, .. } = guard;
    let held = match quota.enter(*request.method() == Method::PUT, context.clock.now()) {
        Ok(held) => held,
        Err(problem) => return answer(problem),
    };
    let Ok(place) = permits.try_acquire_owned() else {
        return answer(Problem::new(Code::TooManyRequests, "Too many requests are under way."));
    };
    let permits = RequestPermits::new(vec![held, place]);
    request.extensions_mut().insert(permits.clone());
    request.extensions_mut().insert(quota.body_budget());
    let code = match *request.method() {
        Method::PUT => Code::IdpUnavailable,
        Method::GET | Method::HEAD => Code::TokenNotReady,
        _ => Code::StoreUnavailable,
    };
    let work = async {
        let _turn = if is_list(&request) { Some(quota.list_turn().await) } else { None };
        quota.in_turn(next.run(request)).await
    };
    match tokio::time::timeout(context.limits.request_timeout, work).await {
        Ok(response) => response,
        Err(_) => answer(Problem::new(code, "The request took too long.")),
    }
}
