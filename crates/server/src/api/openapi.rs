//! `GET /openapi.json`: the API's own description, made from the types that are served.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::context::ApiContext;
use crate::web;
use crate::web::openapi::{ProblemBody, add};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "tokenvault",
        description = "Live access tokens for long-running jobs. Mutual TLS; the certificate names the module.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::register::register,
        super::read::read,
        super::release::release,
        super::list::list,
        web::describe::describe,
    ),
    components(schemas(ProblemBody))
)]
struct ApiDescription;

/// The description.
pub(super) async fn document(State(context): State<ApiContext>) -> Json<Value> {
    let more = [
        ("min_ttl", json!({"maximum": super::read::MAX_MIN_TTL})),
        ("wait", json!({"maximum": context.limits.max_wait.as_secs()})),
        ("after", json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"})),
    ];
    Json(add(&ApiDescription::openapi(), &more))
}
