//! Release: a module is done with its job.

use tokenvault_core::ids::{JobId, JobKey};
use tokenvault_core::policy::{Moment, Outcome, Progress, Settings, Step, apply};
use tokenvault_core::ports::{Write, Written};
use tokenvault_core::record::{EndReason, State};

use super::{Caller, Vault, store_problem};
use crate::problem::{Code, Problem};

/// A renewal may change the record between the look and the write; it cannot do so for ever.
const TRIES: u32 = 8;

impl Vault {
    /// Ends a job: its tokens are erased, or, where the vault has a session of its own, revoked by the reconciler. Done
    /// twice it is done once.
    pub async fn release(&self, caller: &Caller, job: &JobId) -> Result<(), Problem> {
        let key = JobKey::new(caller.tenant.clone(), job.clone());
        let rules = self.rules(&caller.tenant)?;
        for _ in 0..TRIES {
            let stored = self.load(&key).await?.filter(|stored| stored.record.registrar == caller.module);
            let Some(before) = stored.map(|stored| stored.record) else {
                return Err(Problem::new(Code::JobNotFound, "There is no such job of this caller's."));
            };
            if !before.state.is_live() {
                return Ok(());
            }
            let settings: &Settings = &rules.renewal;
            let at = Moment { now: self.parts.clock.now(), roll: 0.0, settings };
            let progress = Progress::begin(before.clone(), None);
            let after = apply(progress, Step::Finish(EndReason::Released), Outcome::Noted, &at).record;
            let write = Write::between(&before, &after, self.parts.attempt());
            match self.parts.write(&write).await.map_err(store_problem)? {
                Written::Done | Written::AlreadyDone => {
                    self.parts.observer.ended(EndReason::Released);
                    tracing::info!(tenant = %key.tenant, job = %key.job, "the job was released");
                    match after.state {
                        State::Ended(_) => self.parts.retire(&before).await,
                        _ => self.parts.wake.due(),
                    }
                    return Ok(());
                }
                Written::Conflict | Written::Gone => {}
            }
        }
        Err(Problem::new(Code::StoreUnavailable, "The job changed again and again while it was being released."))
    }
}
