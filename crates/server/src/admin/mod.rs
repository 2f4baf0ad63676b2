//! HTTP for operators: parse, call the use case, answer. One resource per file.
//!
//! The listener has authorities and a policy of its own: who may read tokens is nobody here. An operator sees which jobs
//! there are and how they fare, and can renew, revoke, pause, promote a key and seal anew; no answer and no event holds a
//! token, a key or the hash of one. Every act is told to the journal before it is done and after, under the operator's
//! name.

mod acts;
mod admit;
mod body;
mod cursor;
mod deed;
mod events;
mod jobs;
mod keys;
mod office;
mod openapi;
mod pause;
mod policy;
mod reseal;
mod status;
#[cfg(test)]
mod tests;
mod users;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use acts::{Acts, By, Held, JobsPage, JobsQuery, Keys, Renewal, Revoked, Status};
pub use admit::{Admits, Refused};
pub use cursor::Cursor;
pub use office::Office;
pub use policy::{Operator, Operators, Role};

use tokenvault_vault::journal::Journal;
use tokenvault_vault::problem::{Code, Problem};

use crate::telemetry::metrics::Metrics;
use crate::tls;
use crate::tls::Peer;
use crate::web::{self, Places, Unread};

/// For a whole request. Acts that change something go on to their end even where nobody waits for it any more.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(1);
/// Requests at a time; more are answered 429.
const MAX_REQUESTS: usize = 32;
/// Those of them that only look: the others are kept for those who operate, whatever watches the vault.
const MAX_VIEWS: usize = 24;
/// Streams of events at a time.
const MAX_WATCHERS: usize = 32;
/// Connections at a time.
const MAX_CONNECTIONS: usize = 128;
/// Those of one operator's.
const OPERATORS_CONNECTIONS: usize = 16;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const IDLE_TIMEOUT: Duration = Duration::from_mins(1);
/// A body's limit in bytes; none says more than a reason.
const MAX_BODY: usize = 4 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Of a refused body it is thrown away before the refusal is given.
const MAX_UNREAD: usize = 64 * 1024;

/// What the handlers share.
#[derive(Clone)]
pub struct App {
    acts: Arc<dyn Acts>,
    operators: Arc<dyn Admits>,
    journal: Arc<dyn Journal>,
    metrics: Arc<Metrics>,
    watchers: Arc<Semaphore>,
    stop: CancellationToken,
}

impl App {
    /// Puts the handlers on what they need. Streams of events end with `stop`.
    pub fn new(
        acts: Arc<dyn Acts>,
        operators: Arc<dyn Admits>,
        journal: Arc<dyn Journal>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self { acts, operators, journal, metrics, watchers: Arc::new(Semaphore::new(MAX_WATCHERS)), stop }
    }

    /// The routes for operators.
    pub fn router(self) -> Router {
        let places = Guard::new(Arc::clone(&self.operators));
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
            .layer(from_fn_with_state(places, guard))
            .layer(from_fn(web::catch_panic))
            .layer(from_fn_with_state(Arc::clone(&self.metrics), web::frame))
            .with_state(self)
    }
}

/// What guards the requests.
#[derive(Clone)]
struct Guard {
    operators: Arc<dyn Admits>,
    all: Arc<Semaphore>,
    views: Arc<Semaphore>,
    lingering: Arc<Semaphore>,
}

impl Guard {
    fn new(operators: Arc<dyn Admits>) -> Self {
        let places = |most| Arc::new(Semaphore::new(most));
        Self { operators, all: places(MAX_REQUESTS), views: places(MAX_VIEWS), lingering: places(MAX_REQUESTS) }
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
    fn enter(&self, request: &Request) -> Option<Places> {
        let may = |peer| self.operators.admit(peer, Role::Operate).is_ok();
        let operates = !request.method().is_safe() && request.extensions().get::<Peer>().is_some_and(may);
        let mut places = Vec::new();
        if !operates {
            places.push(Arc::clone(&self.views).try_acquire_owned().ok()?);
        }
        places.push(Arc::clone(&self.all).try_acquire_owned().ok()?);
        Some(Places::new(places))
    }
}

/// Answers within the limits. What the answer left of a known operator's body is thrown away before it is given.
async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let unread = guard.knows(&request).then(|| Unread::of(&mut request));
    let lingering = Arc::clone(&guard.lingering);
    let answer = admitted(guard, request, next).await;
    if let (Some(unread), Ok(_held)) = (unread, lingering.try_acquire()) {
        unread.discard(MAX_UNREAD).await;
    }
    answer
}

/// A place among the requests under way, and no longer than the time-out. The place stays taken beyond that by what goes on.
async fn admitted(guard: Guard, mut request: Request, next: Next) -> Response {
    let Some(places) = guard.enter(&request) else {
        return web::answer(Problem::new(Code::TooManyRequests, "Too many requests are under way."));
    };
    request.extensions_mut().insert(places.clone());
    match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => web::answer(Problem::new(Code::StoreUnavailable, "The request took too long; look how far it came.")),
    }
}

/// What operators' connections are allowed.
pub fn limits() -> tls::Limits {
    tls::Limits {
        max_connections: MAX_CONNECTIONS,
        max_handshakes: MAX_CONNECTIONS,
        caller_connections: OPERATORS_CONNECTIONS,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        header_timeout: HEADER_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        write_timeout: tls::WRITE_TIMEOUT,
        answer_timeout: REQUEST_TIMEOUT + tls::WRITE_TIMEOUT,
        heads: tls::Heads::Whole,
    }
}
