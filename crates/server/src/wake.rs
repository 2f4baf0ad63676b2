//! A tap on the shoulder between the two halves of the process. It only shortens waits: whoever is woken looks at the
//! store, and would have looked a little later anyway.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Shared by the vault's use cases and the reconciler.
#[derive(Debug, Default)]
pub struct Wake {
    due: Notify,
    renewed: Notify,
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

    /// Some record was renewed or ended here.
    pub fn renewed(&self) {
        self.renewed.notify_waiters();
    }

    /// Until some record is renewed or ended here, counted from this call (not from the first poll).
    pub fn until_renewed(&self) -> Notified<'_> {
        self.renewed.notified()
    }
}
