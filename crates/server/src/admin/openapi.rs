//! `GET /openapi.json` on the operators' listener, made from the types that are served.

use axum::Json;
use utoipa::OpenApi;

use crate::web::openapi::ProblemBody;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tokenvault admin",
        description = "For operators. Mutual TLS; the certificate names the operator, whose role is `view` or `operate`.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::status::status,
        super::jobs::list,
        super::jobs::show,
        super::jobs::renew,
        super::jobs::revoke,
        super::users::revoke,
        super::keys::list,
        super::keys::promote,
        super::reseal::start,
        super::reseal::progress,
        super::pause::pause,
        super::pause::resume,
        super::events::tail,
        crate::web::describe::describe,
    ),
    components(schemas(ProblemBody, super::events::EventBody))
)]
struct AdminDescription;

/// The description.
pub(super) async fn document() -> Json<serde_json::Value> {
    let state = serde_json::json!({"enum": ["active", "suspended", "releasing", "ended"]});
    Json(crate::web::openapi::add(&AdminDescription::openapi(), &[("state", state)]))
}
