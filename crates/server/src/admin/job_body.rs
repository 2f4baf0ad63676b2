//! A job as operators are shown it: everything that helps to understand it, and neither a token nor the hash of one.

use std::collections::BTreeSet;

use serde::Serialize;
use tokenvault_core::ids::{JobId, JobKey, TenantId, UserId};
use tokenvault_core::ports::Stored;
use tokenvault_core::record::{Acquisition, OnLogout, Record, SessionRef};
use tokenvault_vault::problem::Problem;

use crate::web::query::invalid;

/// A job in a list.
#[derive(Serialize, utoipa::ToSchema)]
// The description's own name: it is part of the API.
#[schema(as = JobBody)]
pub(super) struct OperatorJobBody {
    tenant: String,
    job_id: String,
    user_id: String,
    /// `active`, `suspended`, `releasing` (ended, to be revoked at the identity provider still) or `ended`.
    state: String,
    /// Why it is not active.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// `exchange`, `impersonate` or `adopt`.
    acquisition: String,
    /// The module that registered it.
    registrar: String,
    /// The job whose pair it shares.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_job_id: Option<String>,
    /// How many pairs it has had.
    generation: u64,
    #[schema(format = "date-time")]
    created_at: String,
    /// The job's hard end.
    #[schema(format = "date-time")]
    expires_at: String,
    /// When its access token expires; renewal replaces it long before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    access_token_expires_at: Option<String>,
}

/// A job with all that is known of it.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct JobDetailBody {
    #[serde(flatten)]
    job: OperatorJobBody,
    /// The `sub` of its tokens.
    subject: String,
    /// Modules that may read beside the registrar.
    readers: Vec<String>,
    /// What a logout does: `continue` or `revoke`.
    on_logout: String,
    /// Where its pair lives at the identity provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<SessionBody>,
    /// The user's session, where that is watched and another one than the pair's.
    #[serde(skip_serializing_if = "Option::is_none")]
    watched_session: Option<SessionBody>,
    /// When the session ends as far as is known now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    session_expires_at: Option<String>,
    /// When the pair is to be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    renew_at: Option<String>,
    /// When it is looked at next.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    due_at: Option<String>,
    /// Until when a replica has it in hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    leased_until: Option<String>,
    /// For how many seconds the identity provider has been saying that its session is over, where that is still doubted.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubted_for: Option<u64>,
    /// Failures since the last success.
    failures: u32,
    /// Unspent refresh tokens it could fall back upon.
    spares: usize,
    /// Whether a refresh token was sent and its answer is not known yet.
    spend_open: bool,
    /// The ids of the keys that its tokens are sealed with.
    sealed_with: Vec<String>,
    /// When the store may forget it.
    #[schema(format = "date-time")]
    keep_until: String,
}

/// A client session at the identity provider.
#[derive(Serialize, utoipa::ToSchema)]
struct SessionBody {
    /// The user session, Keycloak's `sid`.
    sid: String,
    /// The client in it.
    client: String,
    /// Which life of that client session, as the vault counts them.
    incarnation: u64,
}

impl From<&Record> for OperatorJobBody {
    fn from(record: &Record) -> Self {
        let reason = record.state.reason();
        let acquisition = match record.acquisition {
            Acquisition::Exchange => "exchange",
            Acquisition::Impersonate => "impersonate",
            Acquisition::Adopt => "adopt",
        };
        Self {
            tenant: record.key.tenant.to_string(),
            job_id: record.key.job.to_string(),
            user_id: record.user.to_string(),
            state: record.state.code().to_owned(),
            reason: reason.map(str::to_owned),
            acquisition: acquisition.to_owned(),
            registrar: record.registrar.to_string(),
            parent_job_id: record.parent.as_ref().map(ToString::to_string),
            generation: record.generation.0,
            created_at: record.created_at.to_string(),
            expires_at: record.expires_at.to_string(),
            access_token_expires_at: record.pair.as_ref().map(|pair| pair.access_expires_at.to_string()),
        }
    }
}

impl From<&Stored> for JobDetailBody {
    fn from(stored: &Stored) -> Self {
        let record = &stored.record;
        let session_end =
            record.session_ends_at.or_else(|| record.pair.as_ref().and_then(|pair| pair.refresh.expires_at));
        let text = |moment: tokenvault_core::time::Timestamp| moment.to_string();
        Self {
            job: OperatorJobBody::from(record),
            subject: record.subject.to_string(),
            readers: record.readers.iter().map(ToString::to_string).collect(),
            on_logout: match record.on_logout {
                OnLogout::Continue => "continue".to_owned(),
                OnLogout::Revoke => "revoke".to_owned(),
            },
            session: record.session.as_ref().map(SessionBody::from),
            watched_session: record.anchor.as_ref().map(|anchor| SessionBody::from(&anchor.session)),
            session_expires_at: session_end.map(text),
            renew_at: record.renew_at.map(text),
            due_at: record.due_at.map(text),
            leased_until: stored.leased_until.map(text),
            doubted_for: record.standing_doubt().map(|doubt| doubt.lasted.as_secs()),
            failures: record.failures,
            spares: record.spare.iter().count() + record.reserve.len(),
            spend_open: record.intent.is_some(),
            sealed_with: sealed_with(record).into_iter().map(str::to_owned).collect(),
            keep_until: record.keep_until.to_string(),
        }
    }
}

impl From<&SessionRef> for SessionBody {
    fn from(session: &SessionRef) -> Self {
        Self { sid: session.sid.to_string(), client: session.client.to_string(), incarnation: session.incarnation.0 }
    }
}

/// The ids of all keys that something in a record is sealed with.
pub(super) fn sealed_with(record: &Record) -> BTreeSet<&str> {
    let access = record.pair.iter().chain(record.anchor.iter().map(|anchor| &anchor.pair)).map(|pair| &pair.access);
    let refresh = record.tokens().map(|slot| &slot.sealed);
    access.chain(refresh).filter_map(|sealed| sealed.key_id()).collect()
}

/// The job that a path names.
pub(super) fn job_key((tenant, job): (String, String)) -> Result<JobKey, Problem> {
    let job = JobId::parse(job).map_err(|error| invalid(format!("{error}.")))?;
    Ok(JobKey::new(tenant_id(tenant)?, job))
}

pub(super) fn tenant_id(text: String) -> Result<TenantId, Problem> {
    TenantId::parse(text).map_err(|error| invalid(format!("{error}.")))
}

pub(super) fn user_id(text: String) -> Result<UserId, Problem> {
    UserId::parse(text).map_err(|error| invalid(format!("{error}.")))
}
