//! The parts that say whether this replica is ready, and why not.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ports::TokenStore;
use tokenvault_vault::journal::Journal;
use tokenvault_vault::keyring::KeyringState;
use tokenvault_vault::services::Services;

use crate::management::ReadyPart;
use crate::tls::TlsState;

/// All of them, as `/readyz` tells them. Keycloak is none: reads go on without it.
pub(crate) fn of(services: &Services, tls: &Arc<TlsState>) -> Vec<Arc<dyn ReadyPart>> {
    vec![
        Arc::new(KeyringReady(Arc::clone(&services.keyring), Arc::clone(&services.store))),
        Arc::new(Loaded("policy")),
        Arc::new(TlsReady(Arc::clone(tls))),
        Arc::new(StoreReady(Arc::clone(&services.store))),
        Arc::new(AuditReady(Arc::clone(&services.journal))),
    ]
}

/// A part without which the process would not have started.
struct Loaded(&'static str);

#[async_trait]
impl ReadyPart for Loaded {
    fn name(&self) -> &'static str {
        self.0
    }

    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Not ready where no module could get in, so that a balancer sends them elsewhere and an operator sees why.
struct TlsReady(Arc<TlsState>);

#[async_trait]
impl ReadyPart for TlsReady {
    fn name(&self) -> &'static str {
        "tls"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.current().deserted().map_or(Ok(()), |why| Err(why.to_owned()))
    }
}

/// Where everything must be recorded and cannot be, callers are better served elsewhere.
struct AuditReady(Arc<dyn Journal>);

#[async_trait]
impl ReadyPart for AuditReady {
    fn name(&self) -> &'static str {
        "audit"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.ready().map_err(|error| error.to_string())
    }
}

/// A keyring that could not be held against the store, because that is away, is not what an operator is to look at.
struct KeyringReady(Arc<KeyringState>, Arc<dyn TokenStore>);

#[async_trait]
impl ReadyPart for KeyringReady {
    fn name(&self) -> &'static str {
        "keyring"
    }

    async fn check(&self) -> Result<(), String> {
        let judged = self.0.ready();
        if judged.is_err() && self.0.waits_for_store() && self.1.ready().await.is_err() {
            return Ok(());
        }
        judged
    }
}

struct StoreReady(Arc<dyn TokenStore>);

#[async_trait]
impl ReadyPart for StoreReady {
    fn name(&self) -> &'static str {
        "store"
    }

    async fn check(&self) -> Result<(), String> {
        self.0.ready().await.map_err(|error| error.to_string())
    }
}
