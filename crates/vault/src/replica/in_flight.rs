//! The renewals and the spends that this replica has begun and not finished.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

/// Counts them.
#[derive(Debug, Default)]
pub struct InFlight {
    renewals: AtomicU32,
    /// Spends that were sent, or answered, and are not in the store yet.
    spends: watch::Sender<usize>,
}

/// A renewal in flight, as long as this lives.
pub struct RenewalInFlight<'a>(&'a InFlight);

/// A spend whose answer is not in the store yet, as long as this lives.
pub struct SpendInFlight<'a>(&'a InFlight);

impl InFlight {
    /// Counts a renewal that begins.
    pub fn begin_renewal(&self) -> RenewalInFlight<'_> {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        RenewalInFlight(self)
    }

    /// How many renewals are in flight.
    pub fn renewals(&self) -> u32 {
        self.renewals.load(Ordering::Relaxed)
    }

    /// Counts a spend that begins: Keycloak's answer to it may be the only live refresh token there is.
    pub fn begin_spend(&self) -> SpendInFlight<'_> {
        self.spends.send_modify(|spends| *spends += 1);
        SpendInFlight(self)
    }

    /// How many spends are in flight.
    pub fn spends(&self) -> usize {
        *self.spends.borrow()
    }

    /// Until no spend is in flight.
    pub async fn until_spends_are_written(&self) {
        let mut spends = self.spends.subscribe();
        // Its sender lives as long as this.
        let _ = spends.wait_for(|spends| *spends == 0).await;
    }
}

impl Drop for RenewalInFlight<'_> {
    fn drop(&mut self) {
        self.0.renewals.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for SpendInFlight<'_> {
    fn drop(&mut self) {
        self.0.spends.send_modify(|spends| *spends -= 1);
    }
}
