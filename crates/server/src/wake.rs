//! A tap on the shoulder between the two halves of the process. It only shortens waits: whoever is woken looks at the
//! store, and would have looked a little later anyway.

use std::collections::HashMap;

use parking_lot::Mutex;
use tokenvault_core::ids::JobKey;
use tokio::sync::{Notify, watch};

/// Shared by the vault's use cases and the reconciler.
#[derive(Debug, Default)]
pub struct Wake {
    due: Notify,
    waiting: Mutex<HashMap<JobKey, watch::Sender<()>>>,
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
        let mut waiting = self.waiting.lock();
        if waiting.get(job).is_some_and(|tell| tell.send(()).is_err()) {
            // Those who waited have gone.
            waiting.remove(job);
        }
    }

    /// A place among those who wait for a job.
    pub fn wait_for(&self, job: &JobKey) -> Waiting {
        Waiting(self.waiting.lock().entry(job.clone()).or_default().subscribe())
    }
}
