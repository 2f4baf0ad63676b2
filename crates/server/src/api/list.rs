//! `GET /tokens?user_id=…`

use axum::Json;
use axum::extract::{RawQuery, State};
use serde::Serialize;
use tokenvault_core::ids::UserId;

use super::admission::{AdmittedModule, ToRead};
use super::context::ApiContext;
use super::job_body::{JobBody, job_id};
use crate::web::ProblemResponse;
use crate::web::query::{self, invalid};

const DEFAULT_LIMIT: usize = 50;
const MAX_LIMIT: usize = 200;

/// A page of jobs.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct PageBody {
    jobs: Vec<JobBody>,
    /// Where the next page starts: pass it as `after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The live jobs of a user that the caller may read.
#[utoipa::path(
    get,
    path = "/tokens",
    tag = "tokens",
    params(
        ("user_id" = String, Query, description = "The user"),
        ("limit" = Option<usize>, Query, description = "At most this many, 1 to 200; 50 if not given", minimum = 1, maximum = 200),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
        ("x-okapi-tenant" = Option<String>, Header, description = "The tenant, where the caller may use several"),
    ),
    responses(
        (status = 200, description = "A page", body = PageBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn list(
    State(context): State<ApiContext>,
    AdmittedModule { call, .. }: AdmittedModule<ToRead>,
    RawQuery(query): RawQuery,
) -> Result<Json<PageBody>, ProblemResponse> {
    let [user, limit, after] = query::parse(query.as_deref(), ["user_id", "limit", "after"])?;
    let user = user.ok_or_else(|| invalid("user_id is missing."))?;
    let user = UserId::parse(user).map_err(|error| invalid(format!("{error}.")))?;
    let limit = match limit {
        None => DEFAULT_LIMIT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| invalid(format!("limit is a number from 1 to {MAX_LIMIT}.")))?,
    };
    let after = after.map(|id| job_id(&id)).transpose()?;
    let page = context.jobs.list(call, &user, after.as_ref(), limit).await?;
    let jobs = page.jobs.into_iter().map(JobBody::from).collect();
    Ok(Json(PageBody { jobs, next: page.next.map(|id| id.to_string()) }))
}
