//! From a configuration to the services: the tenants' rules, the identity provider, the store. Nothing here may connect to
//! anything yet.

mod store;
mod tenants;

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::memory::MemoryStore;
use tokenvault_core::ports::{Clock, Entropy, IdentityProvider};
use tokenvault_keycloak::{CallObserver, HttpSettings, KeycloakProvider, ReqwestClient, TenantDirectory, TrustAnchors};
use tokenvault_vault::journal::Unwritten;
use tokenvault_vault::repeats::Repeats;
use tokenvault_vault::services::Services;
use tokenvault_vault::wake::Wake;

pub use store::redis;
pub(crate) use tenants::TenantFactory;
pub use tenants::{renewal_settings, tenant};

use crate::clock::SystemClock;
use crate::config::{Config, Secrets, watched_keyring};
use crate::entropy::OsEntropy;
use crate::realms::{RealmTenants, Realms};
use crate::telemetry::metrics::{Metrics, MetricsObserver, NO_ANSWER};

/// Which store stands under the vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// The one the configuration names.
    Redis,
    /// One that forgets everything with the process; for demonstrations.
    Memory,
}

/// Why the services cannot be put together. Says which part, never a secret.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// No HTTP client can be built.
    #[error(transparent)]
    Http(#[from] tokenvault_keycloak::ClientBuildError),
    /// The store's settings do not work.
    #[error("redis: {0}")]
    Store(#[from] tokenvault_redis::InvalidRedisConfig),
}

/// The services, put together.
pub struct Wired {
    /// What everybody shares.
    pub services: Services,
    /// The same identity provider as in the services, with its knowledge of logout tokens, and one memory of the realms' keys.
    pub keycloak: Arc<KeycloakProvider>,
}

/// Puts the services together. Connects to nothing yet.
pub fn services(
    config: &Config,
    secrets: &Secrets,
    tenants: Arc<RealmTenants>,
    backing: Backing,
    metrics: &Arc<Metrics>,
    clock: &Arc<SystemClock>,
) -> Result<Wired, WiringError> {
    let clock: Arc<dyn Clock> = Arc::clone(clock) as Arc<dyn Clock>;
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    let (store, fleet) = match backing {
        Backing::Redis => {
            let redis = redis(&config.redis);
            store::measured(store::connect(&redis, metrics, &clock)?, metrics)
        }
        Backing::Memory => store::measured(MemoryStore::new(Arc::clone(&clock)), metrics),
    };
    let directory = Arc::new(Realms(Arc::clone(&tenants))) as Arc<dyn TenantDirectory>;
    let fallback = ReqwestClient::new(&HttpSettings { trust: TrustAnchors::Nobody, ..HttpSettings::default() })?;
    let keycloak =
        KeycloakProvider::new(directory, Arc::new(fallback), Arc::clone(&clock), Arc::clone(&entropy)).observed_by(
            Arc::new(CallMetrics { metrics: Arc::clone(metrics), clock: Arc::clone(&clock), said: Repeats::default() }),
        );
    let keycloak = Arc::new(keycloak);
    let services = Services {
        store,
        fleet,
        idp: Arc::clone(&keycloak) as Arc<dyn IdentityProvider>,
        keyring: Arc::new(watched_keyring(&config.keyring.file, secrets.keyring.clone())),
        replica: Arc::default(),
        clock: Arc::clone(&clock),
        entropy,
        tenants,
        wake: Arc::new(Wake::default()),
        observer: Arc::new(MetricsObserver { metrics: Arc::clone(metrics), clock }),
        journal: Arc::new(Unwritten),
    };
    Ok(Wired { services, keycloak })
}

/// Counts the calls to Keycloak, and says why one was not answered.
struct CallMetrics {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    said: Repeats<(String, &'static str, &'static str)>,
}

impl CallObserver for CallMetrics {
    fn call(&self, issuer: &str, call: &'static str, outcome: &'static str, elapsed: Duration) {
        self.metrics.parts.keycloak_request(call, outcome, elapsed);
        if NO_ANSWER.contains(&outcome)
            && let Some(before) = self.said.happened((issuer.to_owned(), call, outcome), self.clock.now())
        {
            tracing::warn!(issuer, call, outcome, before, "Keycloak did not answer as it should");
        }
    }

    fn carry(&self, headers: &mut http::HeaderMap) {
        crate::telemetry::traces::carry(headers);
    }
}
