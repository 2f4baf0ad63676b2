//! `GET /admin/v1/status`

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Serialize;
use tokenvault_core::ports::{Census, ReplicaStatus};

use super::admission::{AdmittedOperator, ToView};
use super::audited_action::AuditedAction;
use super::context::AdminContext;
use super::pause::PauseBody;
use super::reseal::ResealingBody;
use crate::web::ProblemResponse;

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(status))]
pub(super) struct StatusDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new().route("/admin/v1/status", get(status))
}

/// How the vault fares.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct StatusBody {
    /// The replica that answers.
    replica: String,
    /// The time there.
    #[schema(format = "date-time")]
    now: String,
    /// How many jobs there are about, now, that have not ended.
    jobs: u64,
    /// How many there were in each state when they were counted last: some seconds ago, and so perhaps not as many.
    #[serde(skip_serializing_if = "Option::is_none")]
    states: Option<StatesBody>,
    /// How many of them are due for renewal now.
    due: u64,
    /// The key that was promoted last.
    #[serde(skip_serializing_if = "Option::is_none")]
    promoted_key: Option<String>,
    /// The pause of renewal, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pause: Option<PauseBody>,
    /// The last re-sealing.
    reseal: ResealingBody,
    /// All live replicas.
    replicas: Vec<ReplicaBody>,
}

/// How many jobs there were in each state that has not ended; all figures are of one count.
#[derive(Serialize, utoipa::ToSchema)]
struct StatesBody {
    active: u64,
    suspended: u64,
    releasing: u64,
    /// All of them together.
    total: u64,
    /// When they were counted; absent where a replica of an older version did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    counted_at: Option<String>,
}

impl From<Census> for StatesBody {
    fn from(census: Census) -> Self {
        let Census { active, suspended, releasing, counted_at } = census;
        let (total, counted_at) = (census.total(), counted_at.map(|at| at.to_string()));
        Self { active, suspended, releasing, total, counted_at }
    }
}

/// A live replica, as it tells of itself.
#[derive(Serialize, utoipa::ToSchema)]
struct ReplicaBody {
    id: String,
    version: String,
    /// The newest schema it knows.
    schema: u32,
    #[schema(format = "date-time")]
    started_at: String,
    /// When it told this.
    #[schema(format = "date-time")]
    seen_at: String,
    /// The id of the key it seals with.
    primary: String,
    /// The ids of all keys it holds.
    keys: Vec<String>,
    /// The ids of keys in its file that are not the ones of their ids; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    wrong: Vec<String>,
    /// Renewals it has in hand.
    renewing: u32,
}

impl From<ReplicaStatus> for ReplicaBody {
    fn from(replica: ReplicaStatus) -> Self {
        Self {
            id: replica.id.to_string(),
            version: replica.version,
            schema: replica.schema,
            started_at: replica.started_at.to_string(),
            seen_at: replica.seen_at.to_string(),
            primary: replica.primary,
            keys: replica.keys.into_keys().collect(),
            wrong: replica.wrong.into_iter().collect(),
            renewing: replica.renewing,
        }
    }
}

/// How the vault fares: its replicas, what is due, and whether it is paused.
#[utoipa::path(
    get,
    path = "/admin/v1/status",
    tag = "status",
    responses(
        (status = 200, description = "How it fares", body = StatusBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn status(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToView>,
) -> Result<Json<StatusBody>, ProblemResponse> {
    let status = context.audit_view(&by, AuditedAction::new("status"), context.commands.status()).await?;
    Ok(Json(StatusBody {
        replica: status.replica.to_string(),
        now: status.now.to_string(),
        jobs: status.records,
        states: status.census.map(StatesBody::from),
        due: status.due,
        promoted_key: status.promoted_key,
        pause: status.pause.map(PauseBody::from),
        reseal: ResealingBody::of(status.resealing),
        replicas: status.replicas.into_iter().map(ReplicaBody::from).collect(),
    }))
}
