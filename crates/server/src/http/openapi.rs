//! `GET /openapi.json`: the API's own description, made from the types that are served.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::OpenApi;

use super::{App, constraints};

/// A problem (RFC 9457).
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ProblemBody {
    /// `/problems/<code>`.
    r#type: String,
    /// The stable code.
    code: String,
    title: String,
    status: u16,
    detail: String,
    /// Names the request.
    instance: String,
    /// For 409 `job_ended`, 410, 422 `unsupported`, 502 and 503 `token_not_ready`: why.
    reason: Option<String>,
    /// For `token_rejected`: the check that failed.
    check: Option<String>,
    /// For `min_ttl_unsatisfiable`: the most that can be promised, in seconds.
    max_ttl: Option<u64>,
    /// For `expires_at_too_late`: the latest end.
    latest: Option<String>,
    /// For `key_not_held`: the replicas that do not hold it.
    replicas: Option<Vec<String>>,
}

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
        super::describe::describe,
    ),
    components(schemas(ProblemBody))
)]
struct Description;

/// The description.
pub(super) async fn document(State(app): State<App>) -> Json<Value> {
    let more = [
        ("min_ttl", json!({"maximum": super::read::MAX_MIN_TTL})),
        ("wait", json!({"maximum": app.limits.max_wait.as_secs()})),
        ("after", json!({"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"})),
    ];
    Json(constraints::add(&Description::openapi(), &more))
}
