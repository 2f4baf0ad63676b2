//! List: a user's live jobs, as far as the caller may see them.

use tokenvault_core::ids::{JobId, JobKey, UserId};

use super::{Caller, JobPage, Vault, store_problem, view};
use crate::problem::Problem;

impl Vault {
    /// A page of a user's live jobs. An entry whose record is gone or over is tidied away on the way.
    pub async fn list(
        &self,
        caller: &Caller,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem> {
        let limit = limit.max(1);
        let ids = self.parts.store.jobs_of_user(&caller.tenant, user, after, limit + 1).await.map_err(store_problem)?;
        let next = (ids.len() > limit).then(|| ids.get(limit - 1).cloned()).flatten();
        let mut jobs = Vec::new();
        for job in ids.into_iter().take(limit) {
            let key = JobKey::new(caller.tenant.clone(), job);
            match self.load(&key).await? {
                Some(stored) if stored.record.user == *user && stored.record.state.is_live() => {
                    jobs.extend(stored.record.may_read(&caller.module).then(|| view(&stored.record)));
                }
                // A registration enters its user before it creates the record, so only what has a tombstone is tidied.
                Some(_) => {
                    let _ = self.parts.store.remove_from_user(user, &key).await;
                }
                None => {}
            }
        }
        Ok(JobPage { jobs, next })
    }
}
