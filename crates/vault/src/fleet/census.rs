//! How many jobs there are in each state: one replica counts, and the others are told.

use std::time::Duration;

use tokenvault_core::ports::{Census, StoreError};

use super::Member;
use crate::jitter::roll;

/// How long a count is good for.
const KEEP: Duration = Duration::from_secs(30);
/// How often it is looked whether there is one.
const LOOK_EVERY: Duration = Duration::from_secs(10);

impl Member {
    /// Shows what was counted, and counts where nobody has lately. Two that count at a time do no harm.
    pub(super) async fn count(&self) {
        loop {
            if let Err(error) = self.count_once().await {
                tracing::debug!(%error, "the jobs could not be counted");
            }
            tokio::time::sleep(LOOK_EVERY.mul_f64(0.5 + roll(&*self.services.entropy))).await;
        }
    }

    async fn count_once(&self) -> Result<(), StoreError> {
        let fleet = &self.services.fleet;
        let census = if let Some(census) = fleet.census().await? {
            census
        } else {
            let counted_at = Some(self.services.clock.now());
            let census = Census { counted_at, ..fleet.count_states().await? };
            fleet.share_census(&census, KEEP).await?;
            census
        };
        self.services.observer.jobs_counted(&census);
        Ok(())
    }
}
