//! From a configuration to the services: the tenants' rules, the identity provider, the store.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokenvault_core::ids::TenantId;
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::{Client, Clock, Entropy, Fleet, IdentityProvider, TokenStore};
use tokenvault_core::secret::ClientSecret;
use tokenvault_keycloak::{
    CallObserver, Credentials, HttpSettings, KeycloakProvider, OnPoolLeft, ReqwestClient, SigningKey, TenantConfig,
    TenantDirectory, TrustAnchors,
};
use tokenvault_redis::{RedisConfig, RedisStore};
use tokenvault_vault::journal::Unwritten;
use tokenvault_vault::repeats::Repeats;
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::TenantRules;
use tokenvault_vault::wake::Wake;

use crate::clock::SystemClock;
use crate::config::watched_keyring;
use crate::config::{Config, Finding, Redis, Renewal, Secrets, Tenant, TenantSecrets, VaultCredential};
use crate::entropy::OsEntropy;
use crate::realms::{RealmTenants, Realms, ServedTenant};
use crate::telemetry::metrics::{Far, Metrics, MetricsObserver, NO_ANSWER};
use crate::telemetry::store::Measured;

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
            both(connect(&redis(&config.redis, secrets.redis_password.clone()), metrics, &clock)?, metrics)
        }
        Backing::Memory => both(MemoryStore::new(Arc::clone(&clock)), metrics),
    };
    let directory = Arc::new(Realms(Arc::clone(&tenants))) as Arc<dyn TenantDirectory>;
    let fallback = ReqwestClient::new(&HttpSettings { trust: TrustAnchors::Nobody, ..HttpSettings::default() })?;
    let keycloak =
        KeycloakProvider::new(directory, Arc::new(fallback), Arc::clone(&clock), Arc::clone(&entropy)).observed_by(
            Arc::new(CountCalls { metrics: Arc::clone(metrics), clock: Arc::clone(&clock), said: Repeats::default() }),
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

fn connect(config: &RedisConfig, metrics: &Arc<Metrics>, clock: &Arc<dyn Clock>) -> Result<RedisStore, WiringError> {
    let (unreadable, short, left) = (Arc::clone(metrics), Arc::clone(metrics), Arc::clone(metrics));
    let store = RedisStore::connect_telling(config, Some(Arc::new(move || left.connections_left(Far::Redis))))?;
    let store = store.following_its_name().telling(Arc::new(move |why| unreadable.unreadable(why)));
    let (clock, said) = (Arc::clone(clock), Repeats::default());
    Ok(store.on_short_ack(move || {
        short.short_ack();
        if let Some(before) = said.happened((), clock.now()) {
            tracing::warn!(
                before,
                "a write was acknowledged by fewer replicas of Redis than `redis.ack_replicas` asks for"
            );
        }
    }))
}

fn both<S>(store: S, metrics: &Arc<Metrics>) -> (Arc<dyn TokenStore>, Arc<dyn Fleet>)
where
    S: TokenStore + Fleet + 'static,
{
    let store = Arc::new(store);
    let measured = Measured::around(Arc::clone(&store) as Arc<dyn TokenStore>, Arc::clone(metrics));
    (Arc::new(measured), store)
}

/// Counts the calls to Keycloak, and says why one was not answered.
struct CountCalls {
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    said: Repeats<(String, &'static str, &'static str)>,
}

impl CallObserver for CountCalls {
    fn call(&self, issuer: &str, call: &'static str, outcome: &'static str, elapsed: Duration) {
        self.metrics.keycloak_request(call, outcome, elapsed);
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

/// How to connect to Redis.
pub fn redis(redis: &Redis, password: Option<ClientSecret>) -> RedisConfig {
    RedisConfig {
        url: redis.url.clone(),
        username: redis.username.clone(),
        password,
        ca_file: redis.ca_file.clone(),
        pool_size: redis.pool_size,
        connect_timeout: redis.connect_timeout,
        response_timeout: redis.response_timeout,
        ack_replicas: redis.ack_replicas,
        ack_timeout: redis.ack_timeout,
    }
}

fn rules(id: &TenantId, tenant: &Tenant, renewal: &Renewal) -> TenantRules {
    TenantRules {
        client: Client { tenant: id.clone(), id: tenant.client_id.clone() },
        user_id_claim: tenant.user_id_claim.clone(),
        acquisitions: tenant.acquisitions.clone(),
        acquisition: tenant.default_acquisition,
        on_logout: tenant.on_logout,
        default_job_life: tenant.default_job_life,
        max_job_life: tenant.max_job_life,
        max_children: tenant.max_children,
        max_jobs_per_user: tenant.max_jobs_per_user,
        max_records_per_module: tenant.max_records_per_module,
        adopt_clients: tenant.adopt_clients.keys().cloned().collect(),
        renewal: Settings { max_reuse: tenant.refresh_token_max_reuse, ..settings(renewal) },
    }
}

/// So many answers are asked for, more or less, before a session is believed to be over.
const ANSWERS: u32 = 15;

/// What holds for jobs of any tenant.
pub fn settings(renewal: &Renewal) -> Settings {
    Settings {
        fraction: renewal.fraction,
        jitter: renewal.jitter,
        quarantine: renewal.quarantine,
        retry_min: renewal.retry_min,
        retry_max: renewal.retry_max,
        tombstone_ttl: renewal.tombstone_ttl,
        max_reuse: 0,
        may_exchange: true,
        probe_interval: renewal.probe_interval,
        doubt: renewal.doubt,
        doubt_pause: renewal.doubt / ANSWERS,
    }
}

/// How Keycloak is reached: whom to trust, and how long to wait.
type Way = (Option<Vec<u8>>, bool, Duration, Duration);

/// Tenants that reach Keycloak in the same way share a pool of connections, as long as there are such tenants.
#[derive(Default)]
struct Pools {
    of: HashMap<Way, Weak<ReqwestClient>>,
    on_left: Option<OnPoolLeft>,
}

impl Pools {
    fn new(metrics: Option<&Arc<Metrics>>) -> Self {
        let on_left =
            metrics.cloned().map(|metrics| -> OnPoolLeft { Arc::new(move || metrics.connections_left(Far::Keycloak)) });
        Self { of: HashMap::new(), on_left }
    }
}

/// Makes tenants of what is configured for them and what stands in their files.
pub(crate) struct Maker {
    renewal: Renewal,
    pools: Pools,
}

impl Maker {
    pub(crate) fn new(renewal: &Renewal, metrics: Option<&Arc<Metrics>>) -> Self {
        Self { renewal: renewal.clone(), pools: Pools::new(metrics) }
    }

    /// A finding says what of the tenant does not work, never a secret.
    pub(crate) fn make(
        &mut self,
        id: &TenantId,
        tenant: &Tenant,
        secrets: &TenantSecrets,
    ) -> Result<ServedTenant, Finding> {
        let keycloak = keycloak(tenant, secrets, self.renewal.quarantine, &mut self.pools)?;
        Ok(ServedTenant { rules: Arc::new(rules(id, tenant, &self.renewal)), realm: Some(Arc::new(keycloak)) })
    }
}

/// One tenant by itself, for who examines it.
pub fn tenant(tenant: &Tenant, secrets: &TenantSecrets, quarantine: Duration) -> Result<TenantConfig, String> {
    keycloak(tenant, secrets, quarantine, &mut Pools::default()).map_err(|finding| finding.to_string())
}

fn keycloak(
    tenant: &Tenant,
    secrets: &TenantSecrets,
    quarantine: Duration,
    pools: &mut Pools,
) -> Result<TenantConfig, Finding> {
    let unusable = |problem: String| Finding::new(tenant.credential.file().display().to_string(), problem);
    let credentials = match &secrets.credential {
        VaultCredential::Secret(secret) => Credentials::Secret(secret.clone()),
        VaultCredential::PrivateKeyPem(pem) => Credentials::PrivateKeyJwt(
            SigningKey::from_pem(pem, None, tenant.private_key_jwt_kid.clone())
                .map_err(|error| unusable(error.to_string()))?,
        ),
    };
    let base_url = Some(tenant.base_url.as_str()).filter(|url| *url != tenant.issuer);
    let mut keycloak = TenantConfig::new(&tenant.issuer, base_url, tenant.client_id.clone(), credentials)
        .map_err(|error| Finding::new("issuer or base_url", error.to_string()))?;
    keycloak.user_id_claim.clone_from(&tenant.user_id_claim);
    keycloak.accepted_clients.clone_from(&tenant.accepted_clients);
    keycloak.max_proof_age = tenant.max_proof_age;
    keycloak.exchange_scope.clone_from(&tenant.exchange_scope);
    let secret = |secret: &tokenvault_core::secret::ClientSecret| Credentials::Secret(secret.clone());
    keycloak.adopt_clients = secrets.adopt_clients.iter().map(|(id, text)| (id.clone(), secret(text))).collect();
    // A spend is sent within the first third of its quarantine; hanging up before the rest is over would gain nothing.
    let patience = quarantine * 2 / 3;
    keycloak.refresh_patience = Some(patience);
    keycloak.http = Some(pool(tenant, patience, pools)?);
    Ok(keycloak)
}

/// `patience` is the same for all tenants.
fn pool(tenant: &Tenant, patience: Duration, pools: &mut Pools) -> Result<Arc<ReqwestClient>, Finding> {
    let place = || tenant.ca_file.as_ref().map_or_else(|| "ca_file".to_owned(), |file| file.display().to_string());
    let ca = tenant.ca_file.as_ref().map(std::fs::read).transpose();
    let ca = ca.map_err(|error| Finding::new(place(), format!("cannot be read: {error}")))?;
    let plain = tenant.base_url.starts_with("http://");
    let way = (ca, plain, tenant.connect_timeout, tenant.request_timeout);
    if let Some(pool) = pools.of.get(&way).and_then(Weak::upgrade) {
        return Ok(pool);
    }
    let trust = match &way.0 {
        Some(pem) => TrustAnchors::Only(pem.clone()),
        None if plain => TrustAnchors::Nobody,
        None => TrustAnchors::System,
    };
    let usual = HttpSettings::default();
    let settings = HttpSettings {
        trust,
        connect_timeout: tenant.connect_timeout,
        request_timeout: tenant.request_timeout,
        ping_timeout: usual.ping_timeout.max(patience),
        ..usual
    };
    let pool = match &pools.on_left {
        Some(on_left) => ReqwestClient::telling(&settings, Arc::clone(on_left)),
        None => ReqwestClient::new(&settings),
    };
    let pool = Arc::new(pool.map_err(|error| Finding::new(place(), error.to_string()))?);
    pools.of.retain(|_, pool| pool.strong_count() > 0);
    pools.of.insert(way, Arc::downgrade(&pool));
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;

    fn pools_of(issuers: [&str; 3]) -> Vec<Arc<ReqwestClient>> {
        let main = "[server]\ncert_file='c'\nkey_file='k'\nclient_ca_file='a'\n[redis]\nurl='redis://r'\n[keyring]\nfile='k'\n\
                    [policy]\nfile='p'\n[keycloak]\nclient_id='vault'\nclient_secret_file='s'\naccepted_clients=['ui']\n";
        let [one, two, three] = issuers.map(|issuer| format!("issuer='{issuer}'"));
        let text = format!("{main}[tenants.a]\n{one}\n[tenants.b]\n{two}\n[tenants.c]\n{three}\n");
        let config =
            Config::parse(&text, std::path::Path::new("main.toml"), &Environment::default()).expect("a configuration");
        let mut pools = Pools::default();
        config.tenants.values().map(|tenant| pool(tenant, Duration::ZERO, &mut pools).expect("a pool")).collect()
    }

    #[test]
    fn tenants_share_a_pool_only_where_they_trust_the_same() {
        let pools = pools_of(["http://kc/realms/a", "https://kc/realms/b", "http://other/realms/c"]);
        assert!(Arc::ptr_eq(&pools[0], &pools[2]));
        assert!(!Arc::ptr_eq(&pools[0], &pools[1]), "over plain HTTP nobody is trusted");
    }
}
