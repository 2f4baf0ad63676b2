//! A job as modules are shown it, and the words that its description and a registration share.

use serde::{Deserialize, Serialize};
use tokenvault_core::ids::JobId;
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_vault::jobs::JobView;
use tokenvault_vault::problem::Problem;

use crate::web::query::invalid;

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

impl From<Acquisition> for AcquisitionBody {
    fn from(acquisition: Acquisition) -> Self {
        match acquisition {
            Acquisition::Exchange => Self::Exchange,
            Acquisition::Impersonate => Self::Impersonate,
            Acquisition::Adopt => Self::Adopt,
        }
    }
}

impl From<AcquisitionBody> for Acquisition {
    fn from(acquisition: AcquisitionBody) -> Self {
        match acquisition {
            AcquisitionBody::Exchange => Self::Exchange,
            AcquisitionBody::Impersonate => Self::Impersonate,
            AcquisitionBody::Adopt => Self::Adopt,
        }
    }
}

impl AcquisitionBody {
    /// As it is written in JSON.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Impersonate => "impersonate",
            Self::Adopt => "adopt",
        }
    }
}

impl From<OnLogout> for OnLogoutBody {
    fn from(on_logout: OnLogout) -> Self {
        match on_logout {
            OnLogout::Continue => Self::Continue,
            OnLogout::Revoke => Self::Revoke,
        }
    }
}

impl From<OnLogoutBody> for OnLogout {
    fn from(on_logout: OnLogoutBody) -> Self {
        match on_logout {
            OnLogoutBody::Continue => Self::Continue,
            OnLogoutBody::Revoke => Self::Revoke,
        }
    }
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
            acquisition: job.acquisition.into(),
            on_logout: job.on_logout.into(),
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

/// A job id from the path or a body.
pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    JobId::parse(text).map_err(|error| invalid(format!("{error}.")))
}
