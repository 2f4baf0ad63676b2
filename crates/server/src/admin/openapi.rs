//! `GET /openapi.json` on the operators' listener, made from the types that are served.

use axum::Json;
use utoipa::OpenApi;

use super::{events, jobs, keys, pause, reseal, status, users};
use crate::web::openapi::ProblemBody;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tokenvault admin",
        description = "For operators. Mutual TLS; the certificate names the operator, whose role is `view` or `operate`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(crate::web::describe::describe),
    components(schemas(ProblemBody, super::events::EventBody))
)]
struct AdminDescription;

/// The description.
pub(super) async fn document() -> Json<serde_json::Value> {
    let state = serde_json::json!({"enum": ["active", "suspended", "releasing", "ended"]});
    Json(crate::web::openapi::add(&whole(), &[("state", state)]))
}

/// What all resources have in common, and each resource's own part.
fn whole() -> utoipa::openapi::OpenApi {
    [
        status::StatusDescription::openapi(),
        jobs::JobsDescription::openapi(),
        users::UsersDescription::openapi(),
        keys::KeysDescription::openapi(),
        reseal::ResealDescription::openapi(),
        pause::PauseDescription::openapi(),
        events::EventsDescription::openapi(),
    ]
    .into_iter()
    .fold(AdminDescription::openapi(), utoipa::openapi::OpenApi::merge_from)
}
