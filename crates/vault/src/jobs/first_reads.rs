//! Which jobs are just being brought forward because their token was read for the first time: of many who read it at the same
//! time, one does that.

use std::collections::HashSet;

use parking_lot::Mutex;
use tokenvault_core::ids::JobKey;

/// The jobs that are being brought forward. No more than there are requests under way.
#[derive(Debug, Default)]
pub(super) struct FirstReads(Mutex<HashSet<JobKey>>);

impl FirstReads {
    /// Begins to bring a job forward, unless somebody else does.
    pub(super) fn begin<'a>(&'a self, job: &'a JobKey) -> Option<FirstRead<'a>> {
        let is_first = self.0.lock().insert(job.clone());
        // Made only by the one that is: dropped, it would take the job out.
        is_first.then(|| FirstRead { all: self, job })
    }
}

/// A job that is being brought forward, until this is dropped.
pub(super) struct FirstRead<'a> {
    all: &'a FirstReads,
    job: &'a JobKey,
}

impl Drop for FirstRead<'_> {
    fn drop(&mut self) {
        self.all.0.lock().remove(self.job);
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::{JobId, TenantId};

    use super::*;

    #[test]
    fn one_of_those_who_read_at_the_same_time_brings_the_job_forward() {
        let reads = FirstReads::default();
        let [one, other] = ["one", "other"]
            .map(|id| JobKey::new(TenantId::parse("diku").expect("a tenant"), JobId::parse(id).expect("a job")));
        let first = reads.begin(&one);
        assert!(first.is_some() && reads.begin(&one).is_none() && reads.begin(&other).is_some());
        drop(first);
        assert!(reads.begin(&one).is_some());
    }
}
