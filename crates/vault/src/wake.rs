//! Wakes the reconciler when a job has become due, and waiting reads when a job was renewed. It only shortens waits: the one
//! that is woken looks at the store, and would have looked a little later anyway.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokenvault_core::ids::JobKey;
use tokio::sync::{Notify, watch};

/// Shared by the vault's use cases and the reconciler.
#[derive(Debug, Default)]
pub struct Wake {
    due: Notify,
    waiting: Mutex<Rooms>,
}

/// By job, who waits for it. A job that is renewed elsewhere is told of by nobody here, so those who have gone are looked for
/// whenever there are twice as many rooms as after the last look.
#[derive(Debug, Default)]
struct Rooms {
    of: HashMap<JobKey, watch::Sender<()>>,
    sweep_at: usize,
}

/// Fewer rooms are not swept.
const FEW: usize = 1_024;

impl Rooms {
    fn sweep(&mut self) {
        if self.of.len() >= self.sweep_at.max(FEW) {
            self.of.retain(|_, tell| tell.receiver_count() > 0);
            self.sweep_at = 2 * self.of.len();
        }
    }
}

/// Waits for a job to be renewed.
#[derive(Debug)]
pub struct Waiting(watch::Receiver<()>);

impl Waiting {
    /// Until the job is renewed or ends here, counted from the call that made this.
    pub async fn until_renewed(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody is left to tell; the waiter looks at the store by itself.
            std::future::pending::<()>().await;
        }
    }
}

impl Wake {
    /// Something has become due now.
    pub fn due(&self) {
        self.due.notify_one();
    }

    /// Until something has become due.
    pub async fn until_due(&self) {
        self.due.notified().await;
    }

    /// A job was renewed or ended here.
    pub fn renewed(&self, job: &JobKey) {
        let waiting = &mut self.waiting.lock().of;
        if waiting.get(job).is_some_and(|tell| tell.send(()).is_err()) {
            // Those who waited have gone.
            waiting.remove(job);
        }
    }

    /// A place among those who wait for a job.
    pub fn wait_for(&self, job: &JobKey) -> Waiting {
        let mut rooms = self.waiting.lock();
        rooms.sweep();
        Waiting(rooms.of.entry(job.clone()).or_default().subscribe())
    }
}

#[cfg(test)]
mod tests {
    use tokenvault_core::ids::{JobId, TenantId};

    use super::*;

    #[test]
    fn who_waited_and_went_leaves_nothing_behind() {
        let wake = Wake::default();
        let job = |number: usize| {
            JobKey::new(TenantId::parse("diku").unwrap(), JobId::parse(format!("job-{number}")).unwrap())
        };
        let staying = wake.wait_for(&job(0));
        for number in 1..10 * FEW {
            drop(wake.wait_for(&job(number)));
        }
        let rooms = wake.waiting.lock();
        assert!(rooms.of.len() <= 2 * FEW && rooms.of.contains_key(&job(0)), "{}", rooms.of.len());
        drop(staying);
    }
}
