//! The routes for modules, by name, and which act of a module each of them is.

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use tokenvault_vault::journal::Act;

/// The jobs of a user.
pub(super) const JOBS: &str = "/tokens";
/// One job and its token.
pub(super) const JOB: &str = "/tokens/{job_id}";

/// The act that a request asks for; `None` where its route is about no job.
pub(super) fn act_of(request: &Request) -> Option<Act> {
    match (route_of(request)?, request.method()) {
        // A HEAD is a GET whose answer has no body.
        (JOBS, &(Method::GET | Method::HEAD)) => Some(Act::List),
        (JOB, &(Method::GET | Method::HEAD)) => Some(Act::Read),
        (JOB, &Method::PUT) => Some(Act::Register),
        (JOB, &Method::DELETE) => Some(Act::Release),
        _ => None,
    }
}

/// Whether a request is for a list, which may read thousands of records.
pub(super) fn is_list(request: &Request) -> bool {
    route_of(request) == Some(JOBS)
}

fn route_of(request: &Request) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}
