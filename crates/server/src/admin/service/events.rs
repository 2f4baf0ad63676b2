//! Events about what operators do.

use tokenvault_core::ids::ReplicaId;
use tokenvault_core::ports::Event;
use tokenvault_vault::services::Services;

/// Publishes an event. A failure is logged only: the journal has the change all the same.
pub(super) async fn publish(services: &Services, replica: &ReplicaId, kind: &str, reason: Option<String>) {
    let event = Event {
        id: String::new(),
        at: services.clock.now(),
        kind: kind.to_owned(),
        tenant: None,
        job: None,
        reason,
        replica: replica.clone(),
    };
    if let Err(error) = services.fleet.publish(&event).await {
        tracing::warn!(%error, kind, "an event cannot be told");
    }
}
