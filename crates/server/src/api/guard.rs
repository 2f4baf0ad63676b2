//! What protects the process from its requests: a place for each, within its caller's share, and its turn there, and a time-out.
//! Whoever is known is read to the end before it is answered.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_vault::problem::{Code, Problem};
use tokio::sync::Semaphore;

use super::App;
use super::context::module_of;
use super::limits::{CallerLimits, Share};
use crate::web::{Places, Unread, answer};

/// What guards the requests of a listener.
#[derive(Clone)]
pub(super) struct Guard {
    app: App,
    callers: Arc<CallerLimits>,
    places: Arc<Semaphore>,
}

impl Guard {
    pub(super) fn new(app: App) -> Self {
        Self {
            callers: Arc::new(CallerLimits::new(app.limits.caller)),
            places: Arc::new(Semaphore::new(app.limits.max_concurrent_requests)),
            app,
        }
    }
}

/// Answers within the caller's allowance. What the answer left of a known caller's body is thrown away before it is given;
/// strangers make nobody read.
pub(super) async fn guard(State(guard): State<Guard>, mut request: Request, next: Next) -> Response {
    let module = module_of(&guard.app, &request);
    let share = guard.callers.share(module.as_ref());
    let unread = module.map(|_| Unread::of(&mut request));
    let max_body = guard.app.limits.max_body;
    let answered = admitted(guard, &share, request, next).await;
    if let (Some(unread), Some(_held)) = (unread, share.linger()) {
        unread.discard(max_body).await;
    }
    answered
}

/// A place among the caller's requests and among all that are under way, and no longer than the time-out. The places stay
/// taken beyond that by work that goes on.
async fn admitted(guard: Guard, share: &Share, mut request: Request, next: Next) -> Response {
    let Guard { app, places, .. } = guard;
    let held = match share.enter(*request.method() == Method::PUT, app.clock.now()) {
        Ok(held) => held,
        Err(problem) => return answer(problem),
    };
    let Ok(place) = places.try_acquire_owned() else {
        return answer(Problem::new(Code::TooManyRequests, "Too many requests are under way."));
    };
    let places = Places::new(vec![held, place]);
    request.extensions_mut().insert(places.clone());
    request.extensions_mut().insert(share.room());
    let code = match *request.method() {
        Method::PUT => Code::IdpUnavailable,
        Method::GET | Method::HEAD => Code::TokenNotReady,
        _ => Code::StoreUnavailable,
    };
    let work = async {
        let _turn = if is_list(&request) { Some(share.list().await) } else { None };
        share.in_turn(next.run(request)).await
    };
    match tokio::time::timeout(app.limits.request_timeout, work).await {
        Ok(response) => response,
        Err(_) => answer(Problem::new(code, "The request took too long.")),
    }
}

fn is_list(request: &Request) -> bool {
    request.extensions().get::<MatchedPath>().is_some_and(|route| route.as_str() == "/tokens")
}
