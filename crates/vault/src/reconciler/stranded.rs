//! Jobs that were in hand when the store went away.
//!
//! What came of them could not be written, nor could they be given back; they would come up at the end of their leases,
//! however soon the store is back. So they are given back as soon as it is.

use parking_lot::Mutex;
use tokenvault_core::ports::{Lease, StoreError, Write};
use tokenvault_core::record::Record;

use crate::services::Services;

/// More are not remembered; they come up by themselves.
const MOST: usize = 1_000;

/// The leases of rounds that the store's absence has ended.
#[derive(Default)]
pub(super) struct StrandedLeases(Mutex<Vec<Lease>>);

impl StrandedLeases {
    pub(super) fn add(&self, lease: Lease) {
        let mut leases = self.0.lock();
        if leases.len() < MOST {
            leases.push(lease);
        }
    }

    /// The store answers: the jobs are due now.
    pub(super) async fn give_back(&self, services: &Services) {
        let mut leases = std::mem::take(&mut *self.0.lock());
        while let Some(lease) = leases.pop() {
            // After its end somebody else may have it.
            if services.clock.now() < lease.until
                && let Err(error) = give_back(services, &lease).await
            {
                tracing::debug!(%error, "a record that was in hand could not be given back yet");
                leases.push(lease);
                break;
            }
        }
        self.0.lock().extend(leases);
    }
}

async fn give_back(services: &Services, lease: &Lease) -> Result<(), StoreError> {
    let Some(stored) = services.store.load(&lease.key).await? else { return Ok(()) };
    let after = Record { due_at: Some(services.clock.now()), ..stored.record.clone() };
    let write = Write::between(&stored.record, &after, services.attempt()).under(lease).releasing();
    // A conflict says that it is not in hand any more.
    services.store.write(&write).await.map(drop)
}
