//! `PUT /tokens/{job_id}`

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
use tokenvault_core::ids::{ModuleName, UserId};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokenvault_vault::jobs::Registration;
use tokenvault_vault::problem::Problem;
use zeroize::Zeroizing;

use super::admission::{AdmittedModule, ToRegister};
use super::context::{ApiContext, RequestLimits};
use super::job_body::{AcquisitionBody, JobBody, OnLogoutBody, job_id};
use crate::web::query::invalid;
use crate::web::{ProblemResponse, body};

/// A member that is wiped however the request ends.
struct SecretText(Zeroizing<String>);

impl SecretText {
    fn take(mut self) -> String {
        std::mem::take(&mut *self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A registration.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegisterBody {
    /// The user's live access token. It may be left out where `parent_job_id` is given: then the parent stands for the
    /// user's consent.
    #[schema(value_type = Option<String>)]
    access_token: Option<SecretText>,
    /// If given, it must be what the access token says.
    user_id: Option<String>,
    /// The refresh token to adopt.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<SecretText>,
    acquisition: Option<AcquisitionBody>,
    /// The job whose pair is to be shared: by its registrar, or by a module that may read it.
    parent_job_id: Option<String>,
    /// Modules that may read beside the registrar. For a job that is there an empty list takes the right from all of them;
    /// without the member, or with `null`, they stay as they are.
    #[schema(max_items = 64)]
    readers: Option<Vec<String>>,
    /// A child's is its parent's.
    on_logout: Option<OnLogoutBody>,
    /// The hard end of the job, RFC 3339. For a job that is there it stays without the member, or with `null`.
    #[schema(format = "date-time")]
    expires_at: Option<String>,
}

/// The most modules one job may name.
const MAX_READERS: usize = 64;

impl RegisterBody {
    fn parse(self) -> Result<Registration, Problem> {
        match (&self.access_token, &self.parent_job_id) {
            (Some(token), _) if token.0.is_empty() => return Err(invalid("access_token is empty.")),
            (None, None) => {
                return Err(invalid(
                    "access_token is missing; only a child, by its parent_job_id, is registered without.",
                ));
            }
            _ => {}
        }
        // An empty list takes all readers out of a job that is there; without one they stay.
        let asked = self.readers.is_some();
        let readers = self.readers.unwrap_or_default();
        if readers.len() > MAX_READERS {
            return Err(invalid(format!("readers names at most {MAX_READERS} modules.")));
        }
        let parsed: Result<BTreeSet<ModuleName>, _> =
            readers.iter().map(|name| ModuleName::parse(name.as_str())).collect();
        let named = parsed.map_err(|error| invalid(format!("readers: {error}.")))?;
        let when = |text: String| {
            Timestamp::parse_rfc3339(&text).ok_or_else(|| invalid("expires_at is not an RFC 3339 time."))
        };
        Ok(Registration {
            access_token: self.access_token.map(|token| AccessToken::new(token.take())),
            user_id: self.user_id.map(UserId::parse).transpose().map_err(|error| invalid(format!("{error}.")))?,
            refresh_token: self.refresh_token.map(|token| RefreshToken::new(token.take())),
            acquisition: self.acquisition.map(Acquisition::from),
            parent_job_id: self.parent_job_id.map(|id| job_id(&id)).transpose()?,
            readers: asked.then_some(named),
            on_logout: self.on_logout.map(OnLogout::from),
            expires_at: self.expires_at.map(when).transpose()?,
        })
    }
}

/// Registers a job, or answers again for one that is there.
#[utoipa::path(
    put,
    path = "/tokens/{job_id}",
    tag = "tokens",
    params(("job_id" = String, Path, description = "The job execution id"), ("x-okapi-tenant" = Option<String>, Header, description = "The tenant, where the caller may use several")),
    request_body = RegisterBody,
    responses(
        (status = 200, description = "The job was there already; its pair is untouched. The same again, an earlier end and fewer readers need no proof; a later end and further readers do", body = JobBody),
        (status = 201, description = "The job was registered", body = JobBody),
        (status = "default", description = "A problem", body = crate::web::openapi::ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn register(
    State(context): State<ApiContext>,
    AdmittedModule { call, .. }: AdmittedModule<ToRegister>,
    path: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ProblemResponse> {
    let job = job_id(&path)?;
    let RequestLimits { max_body, body_timeout, .. } = *context.limits;
    let parsed: RegisterBody = body::json(&headers, body, max_body, body_timeout, &call.body_budget).await?;
    let registered = context.jobs.register(call, job, parsed.parse()?).await?;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(JobBody::from(registered.job))).into_response())
}
