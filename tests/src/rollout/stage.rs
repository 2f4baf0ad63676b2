//! Replicas over a real Redis; their identity provider is the embedded stand-in.

use std::fs;

use keycloak_double::{Double, DoubleConfig, Endpoint, Fault, Moment, RealmConfig};
use serde_json::{Value, json};

use super::calls::{Caller, Kind};
use crate::harness::certs::Certificate;
use crate::harness::client::Client;
use crate::harness::policy::{self, Module};
use crate::harness::redis::Redis;
use crate::harness::vault::Vault;
use crate::harness::{Failure, Result, install_tls_provider, stand_in};

const REALM: &str = "diku";
/// The job that everybody reads.
pub const JOB: &str = "rolling";
const MODULE: &str = "mod-good";
/// How long access tokens live, in seconds: they are renewed meanwhile.
const TOKEN_LIFE: u64 = 10;

/// A vault, and what it stands on; gone when dropped.
pub struct Stage {
    /// The vault, with all its listeners.
    pub vault: Vault,
    certificate: Certificate,
    proof: String,
    keycloak: Double,
    _redis: Redis,
    _secret: tempfile::TempDir,
}

impl Stage {
    /// Replicas that know a job, and serve on for so many seconds when they are asked to stop.
    pub async fn set(replicas: usize, delay: u64) -> Result<Self> {
        install_tls_provider();
        let realm = RealmConfig::lab(REALM).with_settings(|settings| settings.access_token_lifespan = TOKEN_LIFE);
        let keycloak = Double::start(DoubleConfig::new().realm(realm)).await;
        let keycloak = keycloak.map_err(|error| Failure::new(format!("the stand-in: {error}")))?;
        let (redis, secret) = (Redis::start().await?, tempfile::tempdir()?);
        let secret_file = secret.path().join("client-secret");
        fs::write(&secret_file, stand_in::SECRET)?;
        let issuer = format!("{}/realms/{REALM}", keycloak.base_url());
        let vault = stand_in::tenant(Vault::builder()?.redis(&redis), REALM, &issuer, &secret_file)
            .set("telemetry.log_level", "warn")
            .module(Module::new(MODULE))
            .admin()?
            .idp()?
            .replicas(replicas)
            .shutdown_delay(delay)
            .start()
            .await?;
        let certificate = vault.ca().issue(&policy::subject(&Module::new(MODULE)))?;
        let login = stand_in::log_in(keycloak.base_url(), REALM).await?;
        let proof = login["access_token"].as_str().unwrap_or_default().to_owned();
        let stage = Self { vault, certificate, proof, keycloak, _redis: redis, _secret: secret };
        stage.module()?.put(JOB, &stage.registration()).await?.expect_status(201)?;
        Ok(stage)
    }

    /// The module, calling there.
    pub(super) fn caller(&self, url: &str, kind: Kind) -> Result<Caller> {
        Caller::new(url.to_owned(), kind, self.vault.ca(), &self.certificate, self.proof.clone())
    }

    /// The module, calling the first replica.
    pub fn module(&self) -> Result<Client> {
        self.vault.client(MODULE)
    }

    /// What the module registers the job with.
    pub fn registration(&self) -> Value {
        json!({ "access_token": self.proof })
    }

    /// From now on the identity provider renews nothing.
    pub fn lose_keycloak(&self) {
        for endpoint in [Endpoint::Exchange, Endpoint::Refresh, Endpoint::Introspect] {
            self.keycloak.faults().every(endpoint, Fault::Status(Moment::Before, 500));
        }
    }

    /// How many pairs the job has had.
    pub(super) async fn generation(&self) -> Result<u64> {
        let token = self.module()?.get_with(JOB, "wait=10").await?.expect_status(200)?;
        Ok(token.body["generation"].as_u64().unwrap_or_default())
    }
}
