//! Release: a module is done with its job.

use tokenvault_core::ids::{JobId, JobKey};
use tokenvault_core::record::EndReason;

use super::{Caller, Vault, store_problem};
use crate::ending::{Ended, Ending, end};
use crate::journal::Actor;
use crate::problem::{Code, Problem};

impl Vault {
    /// Ends a job: its tokens are erased, or, where the vault has a session of its own, revoked by the reconciler. Done
    /// twice it is done once.
    pub async fn release(&self, caller: &Caller, job: &JobId) -> Result<(), Problem> {
        let key = JobKey::new(caller.tenant.clone(), job.clone());
        let rules = self.rules(&caller.tenant)?;
        let actor = Actor::Module(caller.module.to_string());
        let ending = Ending { key: &key, reason: EndReason::Released, actor, request_id: None };
        let ended = end(&self.services, &rules.renewal, ending, |record| record.registrar == caller.module).await;
        match ended.map_err(store_problem)? {
            Ended::Now | Ended::Before => Ok(()),
            Ended::NotFound => Err(Problem::new(Code::JobNotFound, "There is no such job of this caller's.")),
            Ended::Busy => {
                let why = "The job changed again and again while it was being released.";
                Err(Problem::new(Code::StoreUnavailable, why))
            }
        }
    }
}
