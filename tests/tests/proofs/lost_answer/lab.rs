//! A realm of real Keycloak, and two providers for it: one that asks directly, one through a proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokenvault_core::ids::{ClientId, TenantId};
use tokenvault_core::ports::testing::SeededEntropy;
use tokenvault_core::ports::{Client, Clock, Grant, IdentityProvider};
use tokenvault_core::secret::{AccessToken, ClientSecret};
use tokenvault_core::time::Timestamp;
use tokenvault_keycloak::{Credentials, HttpSettings, KeycloakProvider, ReqwestClient, TenantConfig, TrustAnchors};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::proxy::Proxy;
use tokenvault_tests::harness::realm::{LabRealm, VAULT};

/// How long is waited for answers that nothing delays.
const UNHURRIED: Duration = Duration::from_secs(30);

/// The machine's clock.
struct Now;

impl Clock for Now {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// One proxy, and the provider on either side of it.
pub(crate) struct Lane {
    pub(crate) proxy: Proxy,
    pub(crate) through: KeycloakProvider,
    pub(crate) direct: KeycloakProvider,
    pub(crate) vault: Client,
}

impl Lane {
    /// A lane whose calls through the proxy take no longer than this.
    pub(crate) async fn lay(realm: &LabRealm, patience: Duration) -> Result<Self> {
        let proxy = Proxy::to(keycloak().await?.address()).await?;
        let tenant = TenantId::parse(realm.name())?;
        let through = provider(realm, &tenant, Some(&proxy.url("http")), patience)?;
        let direct = provider(realm, &tenant, None, UNHURRIED)?;
        Ok(Self { proxy, through, direct, vault: Client { tenant, id: ClientId::parse(VAULT)? } })
    }

    /// The vault's first pair in a new session of alice's.
    pub(crate) async fn pair(&self, realm: &LabRealm) -> Result<Grant> {
        let proof = AccessToken::new(realm.login("alice").await?.access_token);
        Ok(self.direct.exchange(&self.vault, &proof).await?)
    }

    /// The next pair in the same session.
    pub(crate) async fn next(&self, pair: &Grant) -> Result<Grant> {
        Ok(self.direct.exchange(&self.vault, &pair.access).await?)
    }

    /// Whether Keycloak still holds a refresh token to be good.
    pub(crate) async fn lives(&self, pair: &Grant) -> Result<bool> {
        Ok(self.direct.probe(&self.vault, &pair.refresh).await?)
    }
}

fn provider(
    realm: &LabRealm,
    tenant: &TenantId,
    base_url: Option<&str>,
    patience: Duration,
) -> Result<KeycloakProvider> {
    let secret = Credentials::Secret(ClientSecret::new(realm.secret(VAULT)));
    let mut config = TenantConfig::new(realm.issuer(), base_url, ClientId::parse(VAULT)?, secret)?;
    "user_id".clone_into(&mut config.user_id_claim);
    let settings = HttpSettings {
        trust: TrustAnchors::Nobody,
        request_timeout: patience,
        connect_timeout: patience,
        ..HttpSettings::default()
    };
    let http = Arc::new(ReqwestClient::new(&settings)?);
    let entropy = Arc::new(SeededEntropy::new(Now.now().as_millis()));
    let directory = BTreeMap::from([(tenant.clone(), Arc::new(config))]);
    Ok(KeycloakProvider::new(Arc::new(directory), http, Arc::new(Now), entropy))
}
