//! What the cases share: a vault with one good module and one that does its worst.

use serde_json::{Value, json};
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::realm::{LabRealm, LabRealmBuilder, Tokens};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result};

pub(crate) const GOOD: &str = "mod-good";
pub(crate) const BAD: &str = "mod-bad";

pub(crate) struct Stage {
    pub(crate) vault: Vault,
    pub(crate) realm: LabRealm,
    pub(crate) redis: Redis,
    pub(crate) good: Client,
    pub(crate) bad: Client,
}

impl Stage {
    pub(crate) async fn set(realm: LabRealmBuilder) -> Result<Self> {
        Self::with(Redis::options().append_only().start().await?, realm, |vault| vault).await
    }

    pub(crate) async fn with(
        redis: Redis,
        realm: LabRealmBuilder,
        more: impl FnOnce(VaultBuilder) -> VaultBuilder,
    ) -> Result<Self> {
        let realm = realm.create().await?;
        let all = ["exchange", "impersonate"];
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .set(&format!("tenants.{}.on_logout", realm.name()), "continue")
            .module(Module::new(GOOD).register(&all))
            .module(Module::new(BAD).register(&all));
        let vault = more(vault).start().await?;
        let (good, bad) = (vault.client(GOOD)?, vault.client(BAD)?);
        Ok(Self { vault, realm, redis, good, bad })
    }

    pub(crate) async fn login(&self) -> Result<Tokens> {
        self.realm.login("alice").await.map_err(|error| Failure::new(format!("{error:?}")))
    }

    /// How many refresh tokens were spent.
    pub(crate) async fn spends(&mut self) -> Result<f64> {
        self.vault.replica().metric("tokenvault_renewals_total", "step=\"spend\"").await
    }
}

/// A registration of that acquisition.
pub(crate) fn body(proof: &Tokens, acquisition: &str) -> Value {
    json!({"access_token": proof.access_token, "acquisition": acquisition})
}
