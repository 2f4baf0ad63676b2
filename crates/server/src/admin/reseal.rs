//! `POST /admin/v1/reseal`, `GET /admin/v1/reseal`

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use serde::Serialize;
use tokenvault_core::ports::Resealing;

use super::admission::{AdmittedOperator, ToOperate, ToView};
use super::audited_action::AuditedAction;
use super::context::AdminContext;
use crate::web::ProblemResponse;

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(start, progress))]
pub(super) struct ResealDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new().route("/admin/v1/reseal", get(progress).post(start))
}

/// How far a re-sealing has come.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ResealingBody {
    /// `none` (there was none yet), `running` or `finished`.
    state: String,
    /// The key that everything is sealed with in the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    started_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    /// How many records there were about when it started.
    total: u64,
    /// Records looked at.
    seen: u64,
    /// Records that were sealed anew.
    resealed: u64,
    /// Records that could not be opened; they are left as they are.
    failed: u64,
    /// The replica that is at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<String>,
}

impl ResealingBody {
    pub(super) fn of(resealing: Option<Resealing>) -> Self {
        let Some(resealing) = resealing else {
            let state = "none".to_owned();
            let (key, started_at, finished_at, worker) = (None, None, None, None);
            return Self { state, key, started_at, finished_at, total: 0, seen: 0, resealed: 0, failed: 0, worker };
        };
        let running = resealing.finished_at.is_none();
        Self {
            state: if running { "running" } else { "finished" }.to_owned(),
            key: Some(resealing.key),
            started_at: Some(resealing.started_at.to_string()),
            finished_at: resealing.finished_at.map(|at| at.to_string()),
            total: resealing.total,
            seen: resealing.seen,
            resealed: resealing.resealed,
            failed: resealing.failed,
            worker: resealing.worker.filter(|_| running).map(|(replica, _)| replica.to_string()),
        }
    }
}

/// Seals every record with the primary key, in the background. One that is under way is not started again.
#[utoipa::path(
    post,
    path = "/admin/v1/reseal",
    tag = "keys",
    responses(
        (status = 202, description = "The one that is under way", body = ResealingBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn start(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
) -> Result<(StatusCode, Json<ResealingBody>), ProblemResponse> {
    let commands = context.commands.clone();
    let resealing =
        context.audit_change(by, AuditedAction::new("reseal"), async move { commands.reseal().await }).await?;
    Ok((StatusCode::ACCEPTED, Json(ResealingBody::of(Some(resealing)))))
}

/// How far the last re-sealing has come.
#[utoipa::path(
    get,
    path = "/admin/v1/reseal",
    tag = "keys",
    responses(
        (status = 200, description = "Its progress", body = ResealingBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn progress(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToView>,
) -> Result<Json<ResealingBody>, ProblemResponse> {
    let resealing =
        context.audit_view(&by, AuditedAction::new("reseal --status"), context.commands.resealing()).await?;
    Ok(Json(ResealingBody::of(resealing)))
}
