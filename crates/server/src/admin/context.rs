//! What the handlers for operators work with.

use std::sync::Arc;

use tokenvault_vault::journal::Journal;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::commands::AdminCommands;
use super::operator_policy::OperatorPolicy;
use crate::telemetry::metrics::Metrics;

/// Streams of events at a time.
const MAX_WATCHERS: usize = 32;

/// What all handlers of the operators' listener share.
#[derive(Clone)]
pub struct AdminContext {
    pub(super) commands: Arc<dyn AdminCommands>,
    pub(super) operators: Arc<dyn OperatorPolicy>,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) watchers: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

impl AdminContext {
    /// Puts the handlers on what they need. Streams of events end with `stop`.
    pub fn new(
        commands: Arc<dyn AdminCommands>,
        operators: Arc<dyn OperatorPolicy>,
        journal: Arc<dyn Journal>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self { commands, operators, journal, metrics, watchers: Arc::new(Semaphore::new(MAX_WATCHERS)), stop }
    }
}
