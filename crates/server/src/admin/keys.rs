//! `GET /admin/v1/keys`, `POST /admin/v1/keys/{id}/promote`

use axum::Json;
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::routing::{get, post};
use serde::Serialize;

use super::admission::{AdmittedOperator, ToOperate, ToView};
use super::audited_action::AuditedAction;
use super::context::AdminContext;
use crate::web::ProblemResponse;
use crate::web::query::{self, invalid};

/// The description of these routes.
#[derive(utoipa::OpenApi)]
#[openapi(paths(list, promote))]
pub(super) struct KeysDescription;

/// The routes of this resource.
pub(super) fn routes() -> Router<AdminContext> {
    Router::new().route("/admin/v1/keys", get(list)).route("/admin/v1/keys/{id}/promote", post(promote))
}

/// The keys that tokens are sealed with, by their ids.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct KeysBody {
    /// The key that seals: the promoted one, or else the one that all replicas' keyring files agree on.
    #[serde(skip_serializing_if = "Option::is_none")]
    primary: Option<String>,
    /// Whether it was promoted; a change of a keyring file's `primary` alone has no effect then.
    promoted: bool,
    keys: Vec<KeyBody>,
    /// When the records under them were counted; absent where they were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    counted_at: Option<String>,
}

/// A key.
#[derive(Serialize, utoipa::ToSchema)]
struct KeyBody {
    id: String,
    primary: bool,
    /// The live replicas that hold it.
    replicas: Vec<String>,
    /// Those that do not: it cannot be promoted until they do.
    missing: Vec<String>,
    /// Those of them that hold another key by this id, and use none; absent where there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    wrong: Vec<String>,
    /// What tells the key from any other by this id; absent until a replica has vouched for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<String>,
    /// In how many records something is sealed with it; absent where they were not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
}

/// Which replica holds which key, and which one seals.
#[utoipa::path(
    get,
    path = "/admin/v1/keys",
    tag = "keys",
    params(("count" = Option<bool>, Query, description = "Whether to count the records under each key, which means to look at all of them; done without being asked where there are few")),
    responses(
        (status = 200, description = "The keys", body = KeysBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToView>,
    RawQuery(query): RawQuery,
) -> Result<Json<KeysBody>, ProblemResponse> {
    let [count] = query::parse(query.as_deref(), ["count"])?;
    let count = match count.as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid("count is true or false.").into()),
    };
    let keys = context.audit_view(&by, AuditedAction::new("keys list"), context.commands.keys(count)).await?;
    let (primary, counted_at) = (keys.primary, keys.counted_at.map(|at| at.to_string()));
    let body = keys.keys.into_iter().map(|key| KeyBody {
        primary: primary.as_ref() == Some(&key.id),
        replicas: key.replicas.iter().map(ToString::to_string).collect(),
        missing: key.missing.iter().map(ToString::to_string).collect(),
        wrong: key.wrong.iter().map(ToString::to_string).collect(),
        check: key.check,
        records: key.records,
        id: key.id,
    });
    Ok(Json(KeysBody { keys: body.collect(), primary, promoted: keys.promoted, counted_at }))
}

/// A promotion.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PromotedBody {
    /// The key that seals from now on.
    primary: String,
    /// Whether it did not do so before.
    changed: bool,
}

/// Makes a key the one that seals. Refused with 409 `key_not_held` while a live replica lacks it: `replicas` names those.
#[utoipa::path(
    post,
    path = "/admin/v1/keys/{id}/promote",
    tag = "keys",
    params(("id" = String, Path, description = "The key's id")),
    responses(
        (status = 200, description = "It seals from now on; replicas follow within seconds", body = PromotedBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn promote(
    State(context): State<AdminContext>,
    AdmittedOperator { by, .. }: AdmittedOperator<ToOperate>,
    Path(id): Path<String>,
) -> Result<Json<PromotedBody>, ProblemResponse> {
    let action =
        AuditedAction::new(if is_key_id(&id) { format!("keys promote {id}") } else { "keys promote".to_owned() });
    let (commands, key) = (context.commands.clone(), id.clone());
    let act = async move {
        if !is_key_id(&key) {
            return Err(invalid("A key's id is 1 to 32 letters, digits, '.', '_' or '-'."));
        }
        commands.promote(&key).await
    };
    let changed = context.audit_change(by, action, act).await?;
    Ok(Json(PromotedBody { primary: id, changed }))
}

fn is_key_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}
