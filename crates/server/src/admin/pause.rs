//! `POST /admin/v1/pause`, `POST /admin/v1/resume`

use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use tokenvault_core::ports::Pause;
use tokenvault_vault::problem::Problem;

use super::admission::{AdmittedOperator, ToOperate};
use super::audited_action::AuditedAction;
use super::context::AdminContext;
use crate::web::ProblemResponse;
use crate::web::query::invalid;
use crate::web::{BodyBudget, body};

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(pause, resume))]
pub(super) struct PauseDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new().route("/admin/v1/pause", post(pause)).route("/admin/v1/resume", post(resume))
}

/// A body's limit in bytes; none says more than a reason.
const MAX_BODY: usize = 4 * 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest pause. Tokens are not renewed meanwhile, and hardly any lives longer.
const MAX_SECONDS: u64 = 86_400;
const MAX_REASON: usize = 200;

/// What is to be paused, and why.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PauseRequest {
    /// For how long; it ends by itself.
    #[schema(minimum = 1, maximum = 86_400)]
    seconds: u64,
    /// Why, for the others who look.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\x00-\x1f\x7f-\x9f]*$"
    )]
    reason: String,
}

/// A pause of renewal.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PauseBody {
    #[schema(format = "date-time")]
    since: String,
    /// It ends then by itself.
    #[schema(format = "date-time")]
    until: String,
    /// The operator who asked for it.
    by: String,
    /// Why.
    reason: String,
}

impl From<Pause> for PauseBody {
    fn from(pause: Pause) -> Self {
        let (since, until) = (pause.since.to_string(), pause.until.to_string());
        Self { since, until, by: pause.by, reason: pause.reason }
    }
}

impl PauseRequest {
    fn parse(self) -> Result<(Duration, String), Problem> {
        if !(1..=MAX_SECONDS).contains(&self.seconds) {
            return Err(invalid(format!("seconds is a number from 1 to {MAX_SECONDS}.")));
        }
        let length = self.reason.chars().count();
        if !(1..=MAX_REASON).contains(&length) || self.reason.trim().is_empty() {
            return Err(invalid(format!("reason has 1 to {MAX_REASON} characters, and says something.")));
        }
        if self.reason.chars().any(char::is_control) {
            return Err(invalid("reason is one line of text."));
        }
        Ok((Duration::from_secs(self.seconds), self.reason))
    }
}

/// Stops renewal in all replicas, or changes the pause there is. Reads and registrations go on; a token that expires
/// meanwhile is not replaced.
#[utoipa::path(
    post,
    path = "/admin/v1/pause",
    tag = "pause",
    request_body = PauseRequest,
    responses(
        (status = 200, description = "The pause; replicas follow within seconds", body = PauseBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn pause(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<PauseBody>, ProblemResponse> {
    let request: PauseRequest = body::json(&headers, body, MAX_BODY, BODY_TIMEOUT, &BodyBudget::default()).await?;
    let (time, reason) = request.parse()?;
    let action = AuditedAction::new(format!("pause {}", time.as_secs()));
    let (commands, on_behalf) = (context.commands.clone(), by.clone());
    let pause =
        context.audit_change(by, action, async move { commands.pause(&on_behalf, time, &reason).await }).await?;
    Ok(Json(PauseBody::from(pause)))
}

/// The end of a pause.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ResumedBody {
    /// Whether there was a pause.
    resumed: bool,
}

/// Goes on with renewal.
#[utoipa::path(
    post,
    path = "/admin/v1/resume",
    tag = "pause",
    responses(
        (status = 200, description = "Renewal goes on; replicas follow within seconds", body = ResumedBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn resume(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
) -> Result<Json<ResumedBody>, ProblemResponse> {
    let (commands, on_behalf) = (context.commands.clone(), by.clone());
    let resumed = context
        .audit_change(by, AuditedAction::new("resume"), async move { commands.resume(&on_behalf).await })
        .await?;
    Ok(Json(ResumedBody { resumed }))
}
