//! Revoking jobs: they end with the reason `revoked`.

use std::time::Duration;

use tokenvault_core::ids::{JobId, JobKey, TenantId, UserId};
use tokenvault_core::ports::Stored;
use tokenvault_core::record::{EndReason, Record};
use tokenvault_vault::ending::{Ended, Ending, end};
use tokenvault_vault::jobs::store_problem;
use tokenvault_vault::journal::Actor;
use tokenvault_vault::problem::{Code, Problem};
use tokenvault_vault::services::Services;

use super::jobs;
use crate::admin::commands::{OperatorCall, RevokedJobs};

/// A user's jobs taken from the store at a time.
const BATCH: usize = 200;
/// How long a user's jobs are worked on; what is left then is to be asked for again. Below the request's own time-out.
const PATIENCE: Duration = Duration::from_secs(50);

/// Revokes one job; answers with what is left of it.
pub(super) async fn job(services: &Services, by: &OperatorCall, key: &JobKey) -> Result<Stored, Problem> {
    revoke_if(services, by, key, |_| true).await?;
    jobs::load(services, key).await
}

/// Revokes a job if its record is as it must be; whether it ended now.
async fn revoke_if(
    services: &Services,
    by: &OperatorCall,
    key: &JobKey,
    may: impl Fn(&Record) -> bool,
) -> Result<bool, Problem> {
    // The jobs of a tenant that was taken out are still there to be ended.
    let settings = services.tenants.settings(&key.tenant);
    let actor = Actor::Operator(by.operator.clone());
    let request_id = Some(by.request_id.clone());
    let ending = Ending { key, reason: EndReason::Revoked, actor, request_id };
    match end(services, &settings, ending, may).await.map_err(store_problem)? {
        Ended::Now => Ok(true),
        Ended::Before => Ok(false),
        Ended::NotFound => Err(jobs::not_found(services, key)),
        Ended::Busy => {
            Err(Problem::new(Code::StoreUnavailable, "The job changed again and again while it was being revoked."))
        }
    }
}

/// Revokes all jobs of a user. After [`PATIENCE`] it revokes no more: it reports every job that it did not reach as failed,
/// so that the operator can ask again.
pub(super) async fn all_of_user(
    services: &Services,
    by: &OperatorCall,
    tenant: &TenantId,
    user: &UserId,
) -> Result<RevokedJobs, Problem> {
    let started = services.clock.now();
    let mut revoked = RevokedJobs::default();
    let mut after: Option<JobId> = None;
    loop {
        let ids = services.store.jobs_of_user(tenant, user, after.as_ref(), BATCH).await.map_err(store_problem)?;
        after = ids.last().cloned();
        for job in ids {
            // What is left is told of as well: nobody may take a job for ended that was not come to.
            if services.clock.now().since(started) >= PATIENCE {
                revoked.failed.push((job, Code::StoreUnavailable.as_str()));
                continue;
            }
            let key = JobKey::new(tenant.clone(), job.clone());
            match revoke_if(services, by, &key, |record| record.user == *user).await {
                Ok(true) => revoked.revoked.push(job),
                // An entry whose job is over, or whose id is somebody else's by now.
                Ok(false) => {}
                Err(problem) if problem.code == Code::JobNotFound => {}
                Err(problem) => revoked.failed.push((job, problem.code.as_str())),
            }
        }
        if after.is_none() {
            return Ok(revoked);
        }
    }
}
