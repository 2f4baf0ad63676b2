//! `DELETE /admin/v1/users/{tenant}/{user_id}/jobs`

use axum::Json;
use axum::Router;
use axum::extract::{Path, State};
use axum::routing::delete;
use serde::Serialize;

use super::admission::{AdmittedOperator, ToOperate};
use super::audited_action::AuditedAction;
use super::context::AdminContext;
use super::job_body::{tenant_id, user_id};
use crate::web::ProblemResponse;

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(revoke))]
pub(super) struct UsersDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new().route("/admin/v1/users/{tenant}/{user_id}/jobs", delete(revoke))
}

/// What became of a user's jobs.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RevokedBody {
    /// The jobs that ended.
    revoked: Vec<String>,
    /// The jobs that could not be ended; ask again.
    failed: Vec<FailedBody>,
}

/// A job that could not be ended.
#[derive(Serialize, utoipa::ToSchema)]
struct FailedBody {
    job_id: String,
    /// A problem's code.
    code: String,
}

/// Ends all live jobs of a user with the reason `revoked`. A registration that is under way meanwhile may slip through:
/// disable the user at the identity provider first.
#[utoipa::path(
    delete,
    path = "/admin/v1/users/{tenant}/{user_id}/jobs",
    tag = "users",
    params(("tenant" = String, Path, description = "The tenant"), ("user_id" = String, Path, description = "The user")),
    responses(
        (status = 200, description = "What became of them", body = RevokedBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn revoke(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
    Path((tenant, user)): Path<(String, String)>,
) -> Result<Json<RevokedBody>, ProblemResponse> {
    let (tenant, user) = (tenant_id(tenant)?, user_id(user)?);
    let action = AuditedAction::new("users revoke").on_user(Some(&tenant), Some(&user));
    let (commands, on_behalf) = (context.commands.clone(), by.clone());
    let revoked =
        context.audit_change(by, action, async move { commands.revoke_user(&on_behalf, &tenant, &user).await }).await?;
    let failed = revoked.failed.into_iter();
    let failed = failed.map(|(job, code)| FailedBody { job_id: job.to_string(), code: code.to_owned() });
    Ok(Json(RevokedBody {
        revoked: revoked.revoked.iter().map(ToString::to_string).collect(),
        failed: failed.collect(),
    }))
}
