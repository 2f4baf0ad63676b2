//! A registration's request, checked against what the caller may ask for and the tenant supports.

use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::time::Timestamp;

use super::joining::JoinAttempt;
use super::{Caller, Registration};
use crate::problem::{Code, Problem};
use crate::tenants::TenantRules;

/// When the job ends and when it may be forgotten.
pub(super) struct Lifetime {
    pub(super) expires_at: Timestamp,
    pub(super) keep_until: Timestamp,
}

/// A registration whose request has been checked.
pub(super) struct CheckedRequest<'a> {
    pub(super) way: JoinAttempt<'a>,
    pub(super) acquisition: Acquisition,
    pub(super) on_logout: OnLogout,
    pub(super) expires_at: Timestamp,
}

pub(super) fn lifetime(request: &Registration, rules: &TenantRules, now: Timestamp) -> Result<Lifetime, Problem> {
    let latest = now + rules.max_job_life;
    let expires_at = request.expires_at.unwrap_or_else(|| (now + rules.default_job_life).min(latest));
    if expires_at > latest {
        return Err(too_late(latest));
    }
    if expires_at <= now {
        return Err(Problem::new(Code::InvalidRequest, "expires_at is in the past."));
    }
    Ok(Lifetime { expires_at, keep_until: expires_at + rules.renewal.tombstone_ttl })
}

pub(super) fn too_late(latest: Timestamp) -> Problem {
    Problem::new(Code::ExpiresAtTooLate, "The job may not live that long in this tenant.")
        .with("latest", latest.to_string())
}

/// Whether the caller may have such jobs, and the tenant has them.
pub(super) fn may_acquire(caller: &Caller, acquisition: Acquisition, rules: &TenantRules) -> Result<(), Problem> {
    if !caller.acquisitions.contains(&acquisition) {
        return Err(Problem::new(Code::ActionDenied, "The caller may not register jobs with this acquisition."));
    }
    if !rules.acquisitions.contains(&acquisition) {
        return Err(Problem::new(Code::Unsupported, "The tenant has no jobs with this acquisition."));
    }
    Ok(())
}

/// What the caller may ask for and the tenant supports.
pub(super) fn agree(
    caller: &Caller,
    request: &Registration,
    rules: &TenantRules,
) -> Result<(Acquisition, OnLogout), Problem> {
    let acquisition = request.acquisition.unwrap_or(if request.refresh_token.is_some() {
        Acquisition::Adopt
    } else {
        rules.acquisition
    });
    may_acquire(caller, acquisition, rules)?;
    if request.refresh_token.is_some() && acquisition != Acquisition::Adopt {
        return Err(Problem::new(Code::Unsupported, "A refresh_token is taken for adopt only."));
    }
    if request.refresh_token.is_none() && acquisition == Acquisition::Adopt {
        return Err(Problem::new(Code::InvalidRequest, "adopt needs the refresh_token that is to be adopted."));
    }
    let survives = acquisition == Acquisition::Impersonate;
    let on_logout = match (request.on_logout, rules.on_logout) {
        (Some(OnLogout::Continue), _) if !survives => {
            return Err(Problem::new(Code::Unsupported, "Only an impersonated job can continue after the logout."));
        }
        (Some(OnLogout::Continue), OnLogout::Revoke) => {
            return Err(Problem::new(
                Code::Unsupported,
                "The tenant ends jobs at logout; a job may only tighten that.",
            ));
        }
        (Some(asked), _) => asked,
        (None, OnLogout::Continue) if survives => OnLogout::Continue,
        (None, _) => OnLogout::Revoke,
    };
    Ok((acquisition, on_logout))
}
