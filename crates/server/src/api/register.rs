//! `PUT /tokens/{job_id}`

use std::collections::BTreeSet;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer, Serialize};
use tokenvault_core::ids::{JobId, ModuleName, UserId};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokenvault_vault::jobs::{JobView, Registration};
use tokenvault_vault::problem::Problem;
use zeroize::Zeroizing;

use super::context::{Admitted, Register};
use super::{App, Limits};
use crate::web::query::invalid;
use crate::web::{ProblemResponse, body};

/// How the vault comes to its own pair.
#[derive(Deserialize, Serialize, Clone, Copy, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AcquisitionBody {
    /// Standard token exchange; ends with the user's logout.
    Exchange,
    /// A session of the vault's own; survives the logout where `on_logout` says so.
    Impersonate,
    /// The deposited pair as it is.
    Adopt,
}

/// What a logout of the user does to the job.
#[derive(Deserialize, Serialize, Clone, Copy, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnLogoutBody {
    /// The job goes on.
    Continue,
    /// The job ends.
    Revoke,
}

/// A member that is wiped however the request ends.
struct Hidden(Zeroizing<String>);

impl Hidden {
    fn take(mut self) -> String {
        std::mem::take(&mut *self.0)
    }
}

impl<'de> Deserialize<'de> for Hidden {
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
    access_token: Option<Hidden>,
    /// If given, it must be what the access token says.
    user_id: Option<String>,
    /// The refresh token to adopt.
    #[schema(value_type = Option<String>)]
    refresh_token: Option<Hidden>,
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

/// A job, without its tokens.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct JobBody {
    job_id: String,
    user_id: String,
    /// `active`, `suspended`, `releasing` or `ended`.
    state: String,
    /// Why it is not active.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    acquisition: AcquisitionBody,
    on_logout: OnLogoutBody,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_job_id: Option<String>,
    registrar: String,
    readers: Vec<String>,
    /// How many pairs the job has had.
    generation: u64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    expires_at: String,
    /// When the user's session ends as far as is known now; a renewal may push it on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    session_expires_at: Option<String>,
}

impl From<JobView> for JobBody {
    fn from(job: JobView) -> Self {
        Self {
            job_id: job.job_id.to_string(),
            user_id: job.user_id.to_string(),
            state: job.state.to_owned(),
            reason: job.reason.map(str::to_owned),
            acquisition: match job.acquisition {
                Acquisition::Exchange => AcquisitionBody::Exchange,
                Acquisition::Impersonate => AcquisitionBody::Impersonate,
                Acquisition::Adopt => AcquisitionBody::Adopt,
            },
            on_logout: match job.on_logout {
                OnLogout::Continue => OnLogoutBody::Continue,
                OnLogout::Revoke => OnLogoutBody::Revoke,
            },
            parent_job_id: job.parent_job_id.map(|id| id.to_string()),
            registrar: job.registrar.to_string(),
            readers: job.readers.iter().map(ToString::to_string).collect(),
            generation: job.generation.0,
            created_at: job.created_at.to_string(),
            expires_at: job.expires_at.to_string(),
            session_expires_at: job.session_expires_at.map(|at| at.to_string()),
        }
    }
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
            acquisition: self.acquisition.map(|acquisition| match acquisition {
                AcquisitionBody::Exchange => Acquisition::Exchange,
                AcquisitionBody::Impersonate => Acquisition::Impersonate,
                AcquisitionBody::Adopt => Acquisition::Adopt,
            }),
            parent_job_id: self.parent_job_id.map(|id| job_id(&id)).transpose()?,
            readers: asked.then_some(named),
            on_logout: self.on_logout.map(|on_logout| match on_logout {
                OnLogoutBody::Continue => OnLogout::Continue,
                OnLogoutBody::Revoke => OnLogout::Revoke,
            }),
            expires_at: self.expires_at.map(when).transpose()?,
        })
    }
}

/// A job id from the path or a body.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    JobId::parse(text).map_err(|error| invalid(format!("{error}.")))
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
    State(app): State<App>,
    Admitted { call, .. }: Admitted<Register>,
    path: Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ProblemResponse> {
    let job = job_id(&path)?;
    let Limits { max_body, body_timeout, .. } = *app.limits;
    let parsed: RegisterBody = body::json(&headers, body, max_body, body_timeout, &call.room).await?;
    let registered = app.jobs.register(call, job, parsed.parse()?).await?;
    let status = if registered.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(JobBody::from(registered.job))).into_response())
}
