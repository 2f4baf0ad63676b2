//! Looks after what outlives a round: the store's life, and the pairs that are held in memory.

use tokenvault_core::ids::TenantId;
use tokio_util::sync::CancellationToken;

use super::context::RenewalContext;
use super::held_pairs::LOOK_EVERY;

/// Looks every second, until told to stop.
pub(super) async fn watch(context: &RenewalContext, stop: CancellationToken) {
    let RenewalContext { services, held, epoch, .. } = context;
    let mut sealing = String::new();
    while !stop.is_cancelled() {
        let keyring = services.keyring.current();
        if keyring.primary() != sealing {
            keyring.primary().clone_into(&mut sealing);
            held.seal_anew(services);
        }
        if let Ok(now) = services.store.epoch().await {
            *epoch.lock() = Some(now);
        }
        let tombstone_ttl = |tenant: &TenantId| services.tenants.settings(tenant).tombstone_ttl;
        for record in held.take_for_check(services.clock.now(), tombstone_ttl) {
            if let Err(error) = held.restore(services, &record).await {
                tracing::debug!(%error, "a held pair could not be compared with the store");
                held.check_soon(&record.key, services.clock.now());
                break;
            }
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}
