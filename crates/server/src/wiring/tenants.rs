//! A tenant: the rules that its jobs go by, and how its realm at Keycloak is reached.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokenvault_core::ids::TenantId;
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::Client;
use tokenvault_core::secret::ClientSecret;
use tokenvault_keycloak::{
    Credentials, HttpSettings, OnPoolLeft, ReqwestClient, SigningKey, TenantConfig, TrustAnchors,
};
use tokenvault_vault::tenants::TenantRules;

use crate::config::{Finding, RenewalSection, Tenant, TenantSecrets, VaultCredential};
use crate::realms::ServedTenant;
use crate::telemetry::metrics::{Backend, Metrics};

fn rules(id: &TenantId, tenant: &Tenant, renewal: &RenewalSection) -> TenantRules {
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
        renewal: Settings { max_reuse: tenant.refresh_token_max_reuse, ..renewal_settings(renewal) },
    }
}

/// About how often Keycloak is asked within `doubt` before a session is believed to be over.
const ANSWERS: u32 = 15;

/// The renewal settings that hold for all tenants. A configured tenant adds its own `max_reuse`. For a tenant that is no
/// longer configured they are used as they are, to end its jobs.
pub fn renewal_settings(renewal: &RenewalSection) -> Settings {
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
type PoolKey = (Option<Vec<u8>>, bool, Duration, Duration);

/// Tenants that reach Keycloak in the same way share a pool of connections, as long as there are such tenants.
#[derive(Default)]
struct ClientPools {
    of: HashMap<PoolKey, Weak<ReqwestClient>>,
    on_left: Option<OnPoolLeft>,
}

impl ClientPools {
    fn new(metrics: Option<&Arc<Metrics>>) -> Self {
        let on_left = metrics
            .cloned()
            .map(|metrics| -> OnPoolLeft { Arc::new(move || metrics.parts.connections_left(Backend::Keycloak)) });
        Self { of: HashMap::new(), on_left }
    }
}

/// Makes tenants of what is configured for them and what stands in their files.
pub(crate) struct TenantFactory {
    renewal: RenewalSection,
    pools: ClientPools,
}

impl TenantFactory {
    pub(crate) fn new(renewal: &RenewalSection, metrics: Option<&Arc<Metrics>>) -> Self {
        Self { renewal: renewal.clone(), pools: ClientPools::new(metrics) }
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
    keycloak(tenant, secrets, quarantine, &mut ClientPools::default()).map_err(|finding| finding.to_string())
}

fn keycloak(
    tenant: &Tenant,
    secrets: &TenantSecrets,
    quarantine: Duration,
    pools: &mut ClientPools,
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
    let secret = |secret: &ClientSecret| Credentials::Secret(secret.clone());
    keycloak.adopt_clients = secrets.adopt_clients.iter().map(|(id, text)| (id.clone(), secret(text))).collect();
    // A spend is sent within the first third of its quarantine; hanging up before the rest is over would gain nothing.
    let patience = quarantine * 2 / 3;
    keycloak.refresh_patience = Some(patience);
    keycloak.http = Some(pool(tenant, patience, pools)?);
    Ok(keycloak)
}

/// `patience` is the same for all tenants.
fn pool(tenant: &Tenant, patience: Duration, pools: &mut ClientPools) -> Result<Arc<ReqwestClient>, Finding> {
    let place = || tenant.ca_file.as_ref().map_or_else(|| "ca_file".to_owned(), |file| file.display().to_string());
    let ca = tenant.ca_file.as_ref().map(std::fs::read).transpose();
    let ca = ca.map_err(|error| Finding::new(place(), format!("cannot be read: {error}")))?;
    let plain = tenant.base_url.starts_with("http://");
    let key = (ca, plain, tenant.connect_timeout, tenant.request_timeout);
    if let Some(pool) = pools.of.get(&key).and_then(Weak::upgrade) {
        return Ok(pool);
    }
    let trust = match &key.0 {
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
    pools.of.insert(key, Arc::downgrade(&pool));
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    fn pools_of(issuers: [&str; 3]) -> Vec<Arc<ReqwestClient>> {
        let main = "[server]\ncert_file='c'\nkey_file='k'\nclient_ca_file='a'\n[redis]\nurl='redis://r'\n[keyring]\nfile='k'\n\
                    [policy]\nfile='p'\n[keycloak]\nclient_id='vault'\nclient_secret_file='s'\naccepted_clients=['ui']\n";
        let [one, two, three] = issuers.map(|issuer| format!("issuer='{issuer}'"));
        let text = format!("{main}[tenants.a]\n{one}\n[tenants.b]\n{two}\n[tenants.c]\n{three}\n");
        let config =
            Config::parse(&text, std::path::Path::new("main.toml"), &Environment::default()).expect("a configuration");
        let mut pools = ClientPools::default();
        config.tenants.values().map(|tenant| pool(tenant, Duration::ZERO, &mut pools).expect("a pool")).collect()
    }

    #[test]
    fn tenants_share_a_pool_only_where_they_trust_the_same() {
        let pools = pools_of(["http://kc/realms/a", "https://kc/realms/b", "http://other/realms/c"]);
        assert!(Arc::ptr_eq(&pools[0], &pools[2]));
        assert!(!Arc::ptr_eq(&pools[0], &pools[1]), "over plain HTTP nobody is trusted");
    }
}
