//! `DELETE /tokens/{job_id}`

use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::admission::{AdmittedModule, ToRelease};
use super::context::ApiContext;
use super::job_body::job_id;
use crate::web::ProblemResponse;

/// Releases a job: its tokens are erased, a session of the vault's own is revoked.
#[utoipa::path(
    delete,
    path = "/tokens/{job_id}",
    tag = "tokens",
    params(("job_id" = String, Path, description = "The job execution id"), ("x-okapi-tenant" = Option<String>, Header, description = "The tenant, where the caller may use several")),
    responses(
        (status = 204, description = "Released, now or before"),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn release(
    State(context): State<ApiContext>,
    AdmittedModule { call, .. }: AdmittedModule<ToRelease>,
    path: Path<String>,
) -> Result<StatusCode, ProblemResponse> {
    context.jobs.release(call, job_id(&path)?).await?;
    Ok(StatusCode::NO_CONTENT)
}
