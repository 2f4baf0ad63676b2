//! What one storm plays on: a realm, a Redis, three replicas and the proxies in between.
//!
//! The vault's configuration is the product's own but for what [`super::AT_LIFE`] makes necessary: a lease and a
//! request time-out that fit access tokens of five seconds.

use std::sync::Arc;

use serde_json::json;

use super::{AT_LIFE, Acquisition, Fault, LEASE, Options, REPLICAS, REQUEST_TIMEOUT};
use crate::harness::Result;
use crate::harness::keycloak::Keycloak;
use crate::harness::policy::Module;
use crate::harness::proxy::Proxy;
use crate::harness::realm::{LOGIN_APP, LabRealm};
use crate::harness::redis::Redis;
use crate::harness::vault::{Vault, naive_binary};

/// The module that registers.
pub const REGISTRAR: &str = "mod-data-import";
/// The modules that read.
pub const READERS: [&str; 4] = ["mod-inventory", "mod-source-record", "mod-circulation", "mod-orders"];
/// The store's password.
const PASSWORD: &str = "a-password-of-this-storm";

/// Everything one storm needs; gone when dropped.
pub struct Stage {
    /// The replicas; dropped first, since they use the rest.
    pub vault: Vault,
    /// The ways to Keycloak and to Redis, where proxies stand in them.
    pub proxies: Option<[Proxy; 2]>,
    /// The store.
    pub redis: Redis,
    /// The realm.
    pub realm: Arc<LabRealm>,
}

impl Stage {
    /// Sets it, with every replica ready.
    pub async fn set(options: &Options, keycloak: &Keycloak) -> Result<Self> {
        let redis = Redis::options().append_only().password(PASSWORD).start().await?;
        let realm = realm(options, keycloak).await?;
        let proxies = if matches!(options.fault, Fault::Stop | Fault::Proxy | Fault::All) {
            Some([Proxy::to(keycloak.address()).await?, Proxy::to(redis.address().to_string()).await?])
        } else {
            None
        };
        let mut builder = Vault::builder()?.redis(&redis);
        builder = match &proxies {
            None => builder.tenant(&realm)?,
            Some([issuer, store]) => {
                builder.tenant_at(&realm, &issuer.url("http"))?.set("redis.url", store.url("redis"))
            }
        };
        let tenant = format!("tenants.{}", realm.name());
        builder = builder
            .adopt_from(&realm, LOGIN_APP)?
            .set(&format!("{tenant}.on_logout"), "continue")
            .set(&format!("{tenant}.request_timeout"), i64::try_from(REQUEST_TIMEOUT)?)
            .set("renewal.lease", i64::try_from(LEASE)?)
            .set("renewal.quarantine", i64::try_from(options.quarantine)?)
            .module(Module::new(REGISTRAR).register(&["exchange", "impersonate", "adopt"]))
            .replicas(REPLICAS);
        for reader in READERS {
            builder = builder.module(Module::new(reader).register(&[]).actions(&["read"]));
        }
        if options.naive {
            builder = builder.binary(naive_binary()?);
        }
        Ok(Self { vault: builder.start().await?, proxies, redis, realm: Arc::new(realm) })
    }
}

async fn realm(options: &Options, keycloak: &Keycloak) -> Result<LabRealm> {
    let mut realm = LabRealm::builder()
        .at_ttl(AT_LIFE)
        .setting("eventsEnabled", true)
        .setting("enabledEventTypes", json!(["REFRESH_TOKEN", "REFRESH_TOKEN_ERROR"]));
    if !options.has(Acquisition::Impersonate) {
        realm = realm.without_impersonation();
    }
    for number in 0..users(options) {
        realm = realm.user(&username(number));
    }
    let realm = realm.create_in(keycloak).await?;
    // Adopted jobs are to spend. A client without the standard exchange would fall back on the legacy one, where the
    // preview feature is there; with it, but without refresh tokens, it is refused by both.
    let attribute = "standard.token.exchange.enabled";
    realm.admin().set_client_attribute(realm.name(), LOGIN_APP, attribute, "true").await?;
    Ok(realm)
}

/// How many users there are: ten jobs each.
pub fn users(options: &Options) -> usize {
    options.jobs.div_ceil(10).max(2)
}

/// A user's name.
pub fn username(number: usize) -> String {
    format!("user-{number:03}")
}
