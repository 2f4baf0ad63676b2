//! `GET /tokens/{job_id}`

use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use tokenvault_core::ids::Generation;
use tokenvault_vault::jobs::{LiveToken, ReadAnswer, ReadRequest};
use tokenvault_vault::problem::Problem;
use zeroize::Zeroizing;

use super::admission::{AdmittedModule, ToRead};
use super::context::ApiContext;
use super::job_body::job_id;
use super::jobs::ModuleCall;
use crate::web::{ProblemResponse, query};

/// No access token lives longer than this, in seconds; a larger `min_ttl` is a mistake in the request.
pub(super) const MAX_MIN_TTL: u64 = 366 * 24 * 3600;

/// What a token's answer takes beside the token and its scope: names, times, ids.
const ROOM_FOR_THE_REST: usize = 2 * 1024;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A live access token.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct TokenBody<'a> {
    access_token: &'a str,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds left.
    expires_in: u64,
    #[schema(format = "date-time")]
    expires_at: String,
    scope: &'a str,
    user_id: &'a str,
    job_id: &'a str,
    generation: u64,
}

/// A live access token with at least `min_ttl` seconds left.
#[utoipa::path(
    get,
    path = "/tokens/{job_id}",
    tag = "tokens",
    params(
        ("job_id" = String, Path, description = "The job execution id"),
        ("min_ttl" = Option<u64>, Query, description = "The least life the token must have left, in seconds"),
        ("wait" = Option<u64>, Query, description = "How long to wait for a renewal, in seconds"),
        ("If-None-Match" = Option<String>, Header, description = "The generation the caller has, as in ETag"),
        ("x-okapi-tenant" = Option<String>, Header, description = "The tenant, where the caller may use several"),
    ),
    responses(
        (status = 200, description = "A live token", body = TokenBody, headers(("ETag" = String, description = "The generation"))),
        (status = 304, description = "The generation the caller has is still good enough"),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn read(
    State(context): State<ApiContext>,
    AdmittedModule { call, .. }: AdmittedModule<ToRead>,
    path: Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ProblemResponse> {
    Ok(read_token(&context, call, &path, query.as_deref(), &headers).await?)
}

/// The same, of a request that was taken apart already.
pub(super) async fn read_token(
    context: &ApiContext,
    call: ModuleCall,
    job: &str,
    query: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let job = job_id(job)?;
    let [min_ttl, wait] = query::parse(query, ["min_ttl", "wait"])?;
    let wait = query::seconds("wait", wait.as_deref(), context.limits.max_wait.as_secs())?;
    let request = ReadRequest {
        min_ttl: query::seconds("min_ttl", min_ttl.as_deref(), MAX_MIN_TTL)?,
        wait: wait.unwrap_or(context.limits.default_wait),
        known: known(headers),
    };
    match context.jobs.read(call, &job, request).await? {
        ReadAnswer::Token(token) => Ok(answer(&token)),
        ReadAnswer::NotModified(generation) => {
            Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, etag(generation))]).into_response())
        }
    }
}

fn answer(token: &LiveToken) -> Response {
    let body = TokenBody {
        access_token: token.access_token.expose(),
        token_type: "Bearer",
        expires_in: token.expires_in.as_secs(),
        expires_at: token.expires_at.to_string(),
        scope: &token.scope,
        user_id: token.user_id.as_str(),
        job_id: token.job_id.as_str(),
        generation: token.generation.0,
    };
    // Wiped when it has been sent; the room spares it from growing, which would leave a copy behind.
    let room = body.access_token.len() + body.scope.len() + ROOM_FOR_THE_REST;
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    serde_json::to_writer(&mut *text, &body).expect("texts and numbers can be written into memory");
    let headers = [(header::ETAG, etag(token.generation)), (header::CONTENT_TYPE, JSON)];
    (headers, Body::from(Bytes::from_owner(text))).into_response()
}

fn etag(generation: Generation) -> HeaderValue {
    HeaderValue::from_str(&format!("W/\"{generation}\"")).expect("digits and quotes are a valid header value")
}

/// The newest generation named in `If-None-Match`; what is not one of ours is ignored.
fn known(headers: &HeaderMap) -> Option<Generation> {
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|list| list.split(','))
        .filter_map(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Generation)
        })
        .max()
}
