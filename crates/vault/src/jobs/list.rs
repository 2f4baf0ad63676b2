//! List: a user's live jobs, as far as the caller may see them.

use std::collections::BTreeMap;

use tokenvault_core::ids::{JobId, JobKey, UserId};
use tokenvault_core::record::Record;

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
            self.services.store.jobs_of_user(&caller.tenant, user, after, usize::MAX).await.map_err(store_problem)?;
        let (mut jobs, mut parents): (Vec<JobView>, _) = (Vec::new(), BTreeMap::new());
        for job in ids {
            let Some(job) = self.visible(caller, user, job, &mut parents).await? else { continue };
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
    async fn visible(
        &self,
        caller: &Caller,
        user: &UserId,
        job: JobId,
        parents: &mut BTreeMap<JobId, bool>,
    ) -> Result<Option<JobView>, Problem> {
        let key = JobKey::new(caller.tenant.clone(), job);
        match self.load(&key).await? {
            Some(stored) if stored.record.user == *user && stored.record.state.is_live() => {
                let sees = stored.record.may_read(&caller.module)
                    && self.sees_parent_of(caller, &stored.record, parents).await?;
                Ok(sees.then(|| view(&stored.record)))
            }
            Some(stored) => {
                self.services.leave_user(user, &key, stored.record.keep_until).await;
                Ok(None)
            }
            // A registration enters its user before it creates the record: what has none may be about to.
            None => Ok(None),
        }
    }

    /// Whoever may no longer read the parent is shown none of its children but those they registered themselves. Each parent
    /// is looked up once.
    async fn sees_parent_of(
        &self,
        caller: &Caller,
        child: &Record,
        parents: &mut BTreeMap<JobId, bool>,
    ) -> Result<bool, Problem> {
        let Some(parent) = child.parent.as_ref().filter(|_| child.registrar != caller.module) else { return Ok(true) };
        if let Some(sees) = parents.get(parent) {
            return Ok(*sees);
        }
        let stored = self.load(&JobKey::new(caller.tenant.clone(), parent.clone())).await?;
        let sees = stored.is_none_or(|stored| stored.record.may_read(&caller.module));
        parents.insert(parent.clone(), sees);
        Ok(sees)
    }
}
