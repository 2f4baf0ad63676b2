//! The audit log's lines about requests that never came to a use case.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_core::ids::{JobId, JobKey, TenantId};
use tokenvault_vault::journal::{Actor, Entry};
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
    let problem = response.extensions().get::<Problem>().filter(|problem| problem.code != Code::TooManyRequests);
    if let (Some(problem), false) = (problem, reached.is_marked()) {
        let actor = module.map_or(Actor::Unknown, |module| Actor::Module(module.to_string()));
        let mut entry = refused(Entry::new(act, actor, "refused"), problem);
        entry.request_id = id.map(|id| id.to_string());
        let job = uri.path().strip_prefix("/tokens/").and_then(|job| JobId::parse(job).ok());
        entry.tenant = tenant.and_then(|name| TenantId::parse(name.to_str().ok()?).ok());
        if let (Some(tenant), Some(job)) = (entry.tenant.clone(), job) {
            entry.job = Some(JobKey::new(tenant, job));
        }
        context.journal.record(entry);
    }
    response
}
