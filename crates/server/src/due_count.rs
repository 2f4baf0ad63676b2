//! How many records are due, over all shards.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ports::StoreError;
use tokenvault_vault::services::Services;

use crate::telemetry::metrics::Metrics;

/// How often they are counted for the metrics.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// Counts the records that are due now.
pub(crate) async fn count_due(services: &Services) -> Result<u64, StoreError> {
    let due = services.store.due_shards(services.clock.now()).await?;
    Ok(due.into_iter().map(|(_, due)| due as u64).sum())
}

/// Keeps the metric of it. Does not end by itself.
pub(crate) async fn watch(services: Services, metrics: Arc<Metrics>) {
    loop {
        // Half a count is none: what was counted before stays.
        if let Ok(due) = count_due(&services).await {
            metrics.jobs.set_due(due);
        }
        tokio::time::sleep(COUNT_EVERY).await;
    }
}
