//! `GET /admin/v1/jobs`, and one job: show, renew, revoke.

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde::Serialize;
use tokenvault_core::ports::Filter;
use tokenvault_core::time::Timestamp;
use tokenvault_vault::problem::Problem;

use super::admission::{AdmittedOperator, ToOperate, ToView};
use super::audited_action::AuditedAction;
use super::commands::JobsQuery;
use super::context::AdminContext;
use super::cursor::Cursor;
use super::job_body::{JobDetailBody, OperatorJobBody, job_key, tenant_id, user_id};
use crate::web::ProblemResponse;
use crate::web::query::{self, invalid};

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, show, renew, revoke))]
pub(super) struct JobsDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new()
        .route("/admin/v1/jobs", get(list))
        .route("/admin/v1/jobs/{tenant}/{job_id}", get(show).delete(revoke))
        .route("/admin/v1/jobs/{tenant}/{job_id}/renew", post(renew))
}

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 500;
const STATES: &[&str] = &["active", "suspended", "releasing", "ended"];

/// A page of jobs.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct JobsBody {
    /// In no particular order; a job may come twice in all pages.
    jobs: Vec<OperatorJobBody>,
    /// How many records on the way could not be read.
    unreadable: u64,
    /// Where the next page starts: pass it as `after`. A page can be empty and not the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Whether the tenant that was asked for is configured. One that is not may have jobs all the same: those it had
    /// before it was taken out.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_known: Option<bool>,
}

/// The jobs that fulfil all conditions.
#[utoipa::path(
    get,
    path = "/admin/v1/jobs",
    tag = "jobs",
    params(
        ("tenant" = Option<String>, Query, description = "Of this tenant"),
        ("user_id" = Option<String>, Query, description = "Of this user; quick together with `tenant`, and then without the jobs that have ended unless `state` asks for those"),
        ("state" = Option<String>, Query, description = "In this state: active, suspended, releasing or ended"),
        ("expiring_before" = Option<String>, Query, format = DateTime, description = "Whose access token expires before, RFC 3339"),
        ("limit" = Option<usize>, Query, description = "About this many, 1 to 500; 50 if not given", minimum = 1, maximum = 500),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
    ),
    responses(
        (status = 200, description = "A page", body = JobsBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToView>,
    RawQuery(query): RawQuery,
) -> Result<Json<JobsBody>, ProblemResponse> {
    let query = parse(query.as_deref())?;
    let action = AuditedAction::new("jobs list").on_user(query.filter.tenant.as_ref(), query.filter.user.as_ref());
    let page = context.audit_view(&by, action, context.commands.jobs(&query)).await?;
    let jobs = page.jobs.iter().map(|stored| OperatorJobBody::from(&stored.record)).collect();
    let next = page.next.map(|next| next.encode());
    Ok(Json(JobsBody { jobs, unreadable: page.unreadable, next, tenant_known: page.tenant_known }))
}

fn parse(query: Option<&str>) -> Result<JobsQuery, Problem> {
    let known = ["tenant", "user_id", "state", "expiring_before", "limit", "after"];
    let [tenant, user, state, expiring_before, limit, after] = query::parse(query, known)?;
    let state = state.map(|text| {
        let known = STATES.iter().copied().find(|known| *known == text);
        known.ok_or_else(|| invalid(format!("state is one of {}.", STATES.join(", "))))
    });
    let expiring_before = expiring_before
        .map(|text| Timestamp::parse_rfc3339(&text).ok_or_else(|| invalid("expiring_before is not an RFC 3339 time.")));
    let filter = Filter {
        tenant: tenant.map(tenant_id).transpose()?,
        user: user.map(user_id).transpose()?,
        state: state.transpose()?,
        expiring_before: expiring_before.transpose()?,
    };
    let limit = match limit {
        None => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| invalid(format!("limit is a number from 1 to {MAX_LIMIT}.")))?,
    };
    let after = after.map(|text| Cursor::decode(&text).ok_or_else(|| invalid("after is not the `next` of a page.")));
    Ok(JobsQuery { filter, after: after.transpose()?, limit })
}

/// One job.
#[utoipa::path(
    get,
    path = "/admin/v1/jobs/{tenant}/{job_id}",
    tag = "jobs",
    params(("tenant" = String, Path, description = "The tenant"), ("job_id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "The job, without its tokens", body = JobDetailBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn show(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToView>,
    Path(path): Path<(String, String)>,
) -> Result<Json<JobDetailBody>, ProblemResponse> {
    let key = job_key(path)?;
    let action = AuditedAction::new("jobs show").on_job(&key);
    let stored = context.audit_view(&by, action, context.commands.job(&key)).await?;
    Ok(Json(JobDetailBody::from(&stored)))
}

/// A renewal that was asked for.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RenewalBody {
    /// The job whose pair is renewed: a child shares its parent's.
    job_id: String,
    /// The pair it has now; the next one is one more.
    generation: u64,
    /// Renewal is paused until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    paused_until: Option<String>,
}

/// Makes a job due now. The reconciler renews it as soon as it can.
#[utoipa::path(
    post,
    path = "/admin/v1/jobs/{tenant}/{job_id}/renew",
    tag = "jobs",
    params(("tenant" = String, Path, description = "The tenant"), ("job_id" = String, Path, description = "The job")),
    responses(
        (status = 202, description = "It is due now", body = RenewalBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn renew(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
    Path(path): Path<(String, String)>,
) -> Result<(StatusCode, Json<RenewalBody>), ProblemResponse> {
    let key = job_key(path)?;
    let action = AuditedAction::new("jobs renew").on_job(&key);
    let commands = context.commands.clone();
    let renewal = context.audit_change(by, action, async move { commands.renew(&key).await }).await?;
    let body = RenewalBody {
        job_id: renewal.owner.record.key.job.to_string(),
        generation: renewal.owner.record.generation.0,
        paused_until: renewal.pause.map(|pause| pause.until.to_string()),
    };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// Ends a job with the reason `revoked`: its tokens are erased, a session of the vault's own is revoked at the identity
/// provider. One that has ended already stays as it is.
#[utoipa::path(
    delete,
    path = "/admin/v1/jobs/{tenant}/{job_id}",
    tag = "jobs",
    params(("tenant" = String, Path, description = "The tenant"), ("job_id" = String, Path, description = "The job")),
    responses(
        (status = 200, description = "What is left of it", body = JobDetailBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
    Path(path): Path<(String, String)>,
) -> Result<Json<JobDetailBody>, ProblemResponse> {
    let key = job_key(path)?;
    let action = AuditedAction::new("jobs revoke").on_job(&key);
    let (commands, on_behalf) = (context.commands.clone(), by.clone());
    let stored = context.audit_change(by, action, async move { commands.revoke(&on_behalf, &key).await }).await?;
    Ok(Json(JobDetailBody::from(&stored)))
}
