//! What protects the process from operators' requests: a permit for each, and a time-out.
//!
//! The body of a known operator is read to its end before the answer is given.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_vault::problem::{Code, Problem};
use tokio::sync::Semaphore;

use super::operator_policy::{OperatorPolicy, Role};
use crate::tls::Peer;
use crate::web::{self, RequestPermits, UnreadBody};

/// For a whole request. Acts that change something go on to their end even where nobody waits for it any more.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Requests at a time; more are answered 429.
pub(super) const MAX_REQUESTS: usize = 32;
/// Those of them that only look: the others are kept for those who operate, whatever watches the vault.
pub(super) const MAX_VIEWS: usize = 24;
/// Of a refused body it is thrown away before the refusal is given.
const MAX_UNREAD: usize = 64 * 1024;

/// What guards the requests.
#[derive(Clone)]
pub(super) struct OperatorGuard {
    operators: Arc<dyn OperatorPolicy>,
    all: Arc<Semaphore>,
    views: Arc<Semaphore>,
    lingering: Arc<Semaphore>,
}

impl OperatorGuard {
    pub(super) fn new(operators: Arc<dyn OperatorPolicy>) -> Self {
        let permits = |most| Arc::new(Semaphore::new(most));
        Self { operators, all: permits(MAX_REQUESTS), views: permits(MAX_VIEWS), lingering: permits(MAX_REQUESTS) }
    }

    /// Whether an operator calls, whatever they may do.
    fn knows(&self, request: &Request) -> bool {
        let known = |peer| match self.operators.admit(peer, Role::View) {
            Ok(_) => true,
            Err(refused) => refused.operator.is_some(),
        };
        request.extensions().get::<Peer>().is_some_and(known)
    }

    /// Places for one more request, if there are. Only who may operate, and does, has those that are kept.
    pub(super) fn enter(&self, request: &Request) -> Option<RequestPermits> {
        let may = |peer| self.operators.admit(peer, Role::Operate).is_ok();
        let operates = !request.method().is_safe() && request.extensions().get::<Peer>().is_some_and(may);
        let view = if operates { None } else { Some(Arc::clone(&self.views).try_acquire_owned().ok()?) };
        let place = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(RequestPermits::new([view, Some(place)]))
    }
}

/// Answers within the limits. What the answer left of a known operator's body is thrown away before it is given.
pub(super) async fn guard(State(guard): State<OperatorGuard>, mut request: Request, next: Next) -> Response {
    let unread = guard.knows(&request).then(|| UnreadBody::of(&mut request));
    let lingering = Arc::clone(&guard.lingering);
    let answer = admitted(guard, request, next).await;
    if let (Some(unread), Ok(_held)) = (unread, lingering.try_acquire()) {
        unread.discard(MAX_UNREAD).await;
    }
    answer
}

/// A place among the requests under way, and no longer than the time-out. The place stays taken beyond that by what goes on.
async fn admitted(guard: OperatorGuard, mut request: Request, next: Next) -> Response {
    let Some(permits) = guard.enter(&request) else {
        return web::answer(Problem::new(Code::TooManyRequests, "Too many requests are under way."));
    };
    request.extensions_mut().insert(permits.clone());
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => web::answer(Problem::new(Code::StoreUnavailable, "The request took too long; look how far it came.")),
    }
}
