//! What the listeners and the tasks beside them share.

use std::sync::Arc;

use tokenvault_vault::services::Services;
use tokio_util::sync::CancellationToken;

use crate::notices::Notices;
use crate::telemetry::metrics::Metrics;
use crate::web::shutdown::Shutdown;

/// What the listeners and the tasks beside them share.
pub(super) struct Common {
    pub(super) services: Services,
    pub(super) metrics: Arc<Metrics>,
    pub(super) notices: Arc<Notices>,
    pub(super) shutdown: Shutdown,
}

impl Common {
    /// Cancelled when everything is to end.
    pub(super) fn stop(&self) -> CancellationToken {
        self.shutdown.stopping().clone()
    }
}

/// Work that ends with the shutdown and not by itself.
pub(super) async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}
