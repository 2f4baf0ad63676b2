//! What protects the process from its requests: a permit for each, within its caller's quota, its turn there, and a time-out.
//!
//! The body of a known caller is read to its end before the answer is given.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_core::ids::ModuleName;
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
    let quota = guard.quota(module.as_ref());
    let unread = module.map(|_| UnreadBody::of(&mut request));
    let kind = match *request.method() {
        Method::PUT => RequestKind::Registration,
        Method::GET | Method::HEAD if is_list(&request) => RequestKind::List,
        Method::GET | Method::HEAD => RequestKind::Read,
        _ => RequestKind::Other,
    };
    let budget = quota.body_budget();
    let answered = guard.admitted(&quota, kind, |permits| {
        request.extensions_mut().insert(permits);
        request.extensions_mut().insert(budget);
        next.run(request)
    });
    let answered = answered.await;
    if let (Some(unread), Some(_held)) = (unread, quota.discard_permit()) {
        unread.discard(guard.context.limits.max_body).await;
    }
    answered
}

/// What a request asks for, as far as it is guarded differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestKind {
    Registration,
    List,
    Read,
    Other,
}

impl RequestKind {
    /// What is told where it took too long.
    fn too_late(self) -> Code {
        match self {
            Self::Registration => Code::IdpUnavailable,
            Self::List | Self::Read => Code::TokenNotReady,
            Self::Other => Code::StoreUnavailable,
        }
    }
}

impl RequestGuard {
    /// The quota of a caller.
    pub(super) fn quota(&self, module: Option<&ModuleName>) -> Arc<CallerQuota> {
        self.callers.quota(module)
    }

    /// A place among the caller's requests and among all that are under way, and no longer than the time-out. The places stay
    /// taken beyond that by work that goes on.
    pub(super) async fn admitted<F: Future<Output = Response>>(
        &self,
        quota: &CallerQuota,
        kind: RequestKind,
        work: impl FnOnce(RequestPermits) -> F,
    ) -> Response {
        let held = match quota.enter(kind == RequestKind::Registration, self.context.clock.now()) {
            Ok(held) => held,
            Err(problem) => return answer(problem),
        };
        let Ok(place) = Arc::clone(&self.permits).try_acquire_owned() else {
            return answer(Problem::new(Code::TooManyRequests, "Too many requests are under way."));
        };
        let work = work(RequestPermits::new([Some(held), Some(place)]));
        let work = async {
            let _turn = if kind == RequestKind::List { Some(quota.list_turn().await) } else { None };
            quota.in_turn(work).await
        };
        match tokio::time::timeout(self.context.limits.request_timeout, work).await {
            Ok(response) => response,
            Err(_) => answer(Problem::new(kind.too_late(), "The request took too long.")),
        }
    }
}
