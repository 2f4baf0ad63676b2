//! The way of a request from its connection to its handler.
//!
//! Reads are nearly all that modules ask for. They go to their handler straight from here, past the same frame, the same record of
//! refusals and the same guard as every other request. Everything else goes through the router, whose layers are these again.
//! A test sends the same requests both ways and compares the answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::HttpBody as _;
use axum::extract::Request;
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use tokenvault_vault::journal::Act;
use tower::{Service, ServiceExt as _};

use super::admission::{Arrival, TENANT, admit};
use super::context::ApiContext;
use super::guard::{RequestGuard, RequestKind};
use super::jobs::ReachedUseCase;
use super::read::read_token;
use super::refusals::{Asked, record_refusal};
use super::routes::JOB;
use crate::callers::Action;
use crate::telemetry::traces;
use crate::tls::Peer;
use crate::web::{self, RequestHead, RequestId, answer};

/// What answers modules' requests.
#[derive(Clone)]
pub struct ApiService(Arc<Shared>);

struct Shared {
    context: ApiContext,
    guard: RequestGuard,
    router: Router,
}

impl ApiService {
    pub(super) fn new(context: ApiContext, guard: RequestGuard, router: Router) -> Self {
        Self(Arc::new(Shared { context, guard, router }))
    }

    /// Without the short way of reads.
    #[cfg(test)]
    pub(super) fn router(&self) -> Router {
        self.0.router.clone()
    }
}

impl Service<Request> for ApiService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let shared = Arc::clone(&self.0);
        if is_plain_read(&request) {
            let (parts, _) = request.into_parts();
            return Box::pin(async move { Ok(shared.read(&parts).await) });
        }
        Box::pin(self.0.router.clone().oneshot(request))
    }
}

/// Whether a request is a read without a body whose job id needs no decoding.
fn is_plain_read(request: &Request) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let job = job_of(request.uri().path());
    *request.method() == Method::GET && request.body().is_end_stream() && !job.is_empty() && job.bytes().all(plain)
}

/// The job that a path of the route names.
fn job_of(path: &str) -> &str {
    path.strip_prefix("/tokens/").unwrap_or_default()
}

impl Shared {
    async fn read(&self, request: &Parts) -> Response {
        let headers = &request.headers;
        let head = RequestHead { id: RequestId::of(headers), method: Method::GET, route: JOB.into() };
        let trace = traces::request(&head.method, JOB, headers);
        web::framed(&self.context.metrics, &head, trace, self.recorded(request, &head.id)).await
    }

    /// The answer, recorded where it is a refusal before the use case.
    async fn recorded(&self, request: &Parts, id: &RequestId) -> Response {
        let Self { context, guard, .. } = self;
        let (reached, peer) = (ReachedUseCase::default(), request.extensions.get::<Peer>());
        let job = job_of(request.uri.path());
        let module = peer.and_then(|peer| context.callers.module(peer));
        let quota = guard.quota(module.as_ref());
        let answered = guard.admitted(&quota, RequestKind::Read, |permits| {
            let arrival = Arrival {
                request_id: id.shared(),
                reached: reached.clone(),
                permits,
                body_budget: quota.body_budget(),
            };
            async move {
                let headers = &request.headers;
                let read = match admit(context, peer, headers, Action::Read, arrival) {
                    Ok(call) => read_token(context, call, job, request.uri.query(), headers).await,
                    Err(problem) => Err(problem),
                };
                read.unwrap_or_else(answer)
            }
        });
        let response = web::caught(answered).await;
        let asked =
            Asked { act: Act::Read, id: Some(id.clone()), module, job: Some(job), tenant: request.headers.get(TENANT) };
        record_refusal(context, &reached, asked, &response);
        response
    }
}
