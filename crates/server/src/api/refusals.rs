//! The audit log's lines about requests that never came to a use case.

use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_core::ids::{JobId, JobKey, ModuleName, TenantId};
use tokenvault_vault::journal::{Act, Actor, Entry};
use tokenvault_vault::problem::{Code, Problem};

use super::admission::{TENANT, module_of};
use super::audited_jobs::refused;
use super::context::ApiContext;
use super::jobs::ReachedUseCase;
use super::routes::act_of;
use crate::web::RequestId;

/// Records requests about jobs that were refused before they came to a use case: by an unknown certificate, a policy, a
/// malformed body. One that was refused for being one of too many is counted, and leaves no line: that would be the next
/// flood.
pub(super) async fn record(State(context): State<ApiContext>, mut request: Request, next: Next) -> Response {
    let Some(act) = act_of(&request) else { return next.run(request).await };
    let reached = ReachedUseCase::default();
    request.extensions_mut().insert(reached.clone());
    let (uri, tenant) = (request.uri().clone(), request.headers().get(TENANT).cloned());
    let (id, module) = (request.extensions().get::<RequestId>().cloned(), module_of(&context, &request));
    let response = next.run(request).await;
    let asked = Asked { act, id, module, job: uri.path().strip_prefix("/tokens/"), tenant: tenant.as_ref() };
    record_refusal(&context, &reached, asked, &response);
    response
}

/// What a refused request was about.
pub(super) struct Asked<'a> {
    /// What it asked for.
    pub(super) act: Act,
    /// Its id.
    pub(super) id: Option<RequestId>,
    /// Who asked.
    pub(super) module: Option<ModuleName>,
    /// The job, as the path names it.
    pub(super) job: Option<&'a str>,
    /// The tenant, as the header names it.
    pub(super) tenant: Option<&'a HeaderValue>,
}

/// Records it, if it was refused before it came to a use case.
pub(super) fn record_refusal(context: &ApiContext, reached: &ReachedUseCase, asked: Asked<'_>, response: &Response) {
    let problem = response.extensions().get::<Problem>().filter(|problem| problem.code != Code::TooManyRequests);
    let (Some(problem), false) = (problem, reached.is_marked()) else { return };
    let actor = asked.module.map_or(Actor::Unknown, |module| Actor::Module(module.to_string()));
    let mut entry = refused(Entry::new(asked.act, actor, "refused"), problem);
    entry.request_id = asked.id.map(|id| id.to_string());
    let job = asked.job.and_then(|job| JobId::parse(job).ok());
    entry.tenant = asked.tenant.and_then(|name| TenantId::parse(name.to_str().ok()?).ok());
    if let (Some(tenant), Some(job)) = (entry.tenant.clone(), job) {
        entry.job = Some(JobKey::new(tenant, job));
    }
    context.journal.record(entry);
}
