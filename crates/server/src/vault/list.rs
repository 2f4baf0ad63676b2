//! List: a user's live jobs, as far as the caller may see them.

use tokenvault_core::ids::{JobId, JobKey, UserId};

use super::{Caller, JobPage, JobView, Vault, store_problem, view};
use crate::problem::Problem;

impl Vault {
    /// A page of a user's live jobs. What the caller may not see is walked over and told by nothing, the place of the next
    /// page included: that is the last job of this one. The walk ends with the user's list, which is bounded.
    pub async fn list(
        &self,
        caller: &Caller,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem> {
        let limit = limit.max(1);
        let ids =
            self.parts.store.jobs_of_user(&caller.tenant, user, after, usize::MAX).await.map_err(store_problem)?;
        let mut jobs: Vec<JobView> = Vec::new();
        for job in ids {
            let Some(job) = self.visible(caller, user, job).await? else { continue };
            if jobs.len() == limit {
                let next = jobs.last().map(|last| last.job_id.clone());
                return Ok(JobPage { jobs, next });
            }
            jobs.push(job);
        }
        Ok(JobPage { jobs, next: None })
    }

    /// The job, if it is a live one of the user's that the caller may see. An entry whose record is over is tidied away on
    /// the way.
    async fn visible(&self, caller: &Caller, user: &UserId, job: JobId) -> Result<Option<JobView>, Problem> {
        let key = JobKey::new(caller.tenant.clone(), job);
        match self.load(&key).await? {
            Some(stored) if stored.record.user == *user && stored.record.state.is_live() => {
                Ok(stored.record.may_read(&caller.module).then(|| view(&stored.record)))
            }
            Some(stored) => {
                self.parts.leave_user(user, &key, stored.record.keep_until).await;
                Ok(None)
            }
            // A registration enters its user before it creates the record: what has none may be about to.
            None => Ok(None),
        }
    }
}
