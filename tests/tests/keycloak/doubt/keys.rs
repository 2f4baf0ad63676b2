//! An administrator rotates, disables and deletes the realm's keys, one at a time.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::{Failure, Result};

use super::{MODULE, all_renew, configured, register_all};

const AT_TTL: u64 = 12;
const RENEWED: Duration = Duration::from_secs(2 * AT_TTL);

/// The realm's keys as an administrator sees them.
struct Keys<'a>(&'a LabRealm);

impl Keys<'_> {
    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        self.0.admin().call(method, &format!("/{}/{path}", self.0.name()), body).await
    }

    async fn of(&self, provider: &str) -> Result<Vec<Value>> {
        let all = self.call(Method::GET, "components?type=org.keycloak.keys.KeyProvider", None).await?;
        let all = all.as_array().cloned().unwrap_or_default();
        Ok(all
            .into_iter()
            .filter(|key| key["providerId"].as_str().is_some_and(|id| id.starts_with(provider)))
            .collect())
    }

    async fn only(&self, provider: &str) -> Result<Value> {
        let keys = self.of(provider).await?;
        keys.into_iter().next().ok_or_else(|| Failure::new(format!("the realm has no {provider}")))
    }

    async fn delete(&self, key: &Value) -> Result<()> {
        let id = key["id"].as_str().unwrap_or_default();
        self.call(Method::DELETE, &format!("components/{id}"), None).await.map(drop)
    }

    async fn set(&self, key: &Value, name: &str, value: &str) -> Result<()> {
        let mut key = key.clone();
        key["config"][name] = json!([value]);
        let path = format!("components/{}", key["id"].as_str().unwrap_or_default());
        self.call(Method::PUT, &path, Some(&key)).await.map(drop)
    }

    /// A further key that signs from now on.
    async fn add(&self, like: &Value, name: &str) -> Result<()> {
        let mut config = json!({ "priority": ["500"] });
        if let Some(algorithm) = like["config"].get("algorithm") {
            config["algorithm"] = algorithm.clone();
        }
        let key = json!({
            "name": name,
            "parentId": like["parentId"],
            "providerId": like["providerId"],
            "providerType": "org.keycloak.keys.KeyProvider",
            "config": config,
        });
        self.call(Method::POST, "components", Some(&key)).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_of_the_realm_may_be_rotated_disabled_or_deleted_one_at_a_time() -> Result<()> {
    let redis = Redis::start().await?;
    let realm = LabRealm::builder().at_ttl(AT_TTL).create().await?;
    let vault = configured(&realm, &redis, realm.base_url())?.doubt(15).start().await?;
    let module = vault.client(MODULE)?;
    let proof = realm.login("alice").await?;
    let jobs = register_all(&module, &proof).await?;
    let keys = Keys(&realm);

    let refresh_key = keys.only("hmac-generated").await?;
    keys.delete(&refresh_key).await?;
    all_renew(&realm, &module, &jobs, RENEWED).await?;

    let access_key = keys.only("rsa-generated").await?;
    keys.add(&access_key, "rotated").await?;
    all_renew(&realm, &module, &jobs, RENEWED).await?;
    keys.set(&access_key, "active", "false").await?;
    keys.set(&access_key, "enabled", "false").await?;
    all_renew(&realm, &module, &jobs, RENEWED).await?;
    keys.delete(&access_key).await?;
    all_renew(&realm, &module, &jobs, RENEWED).await?;

    // The one that signs is gone at a click: what was served is void until it is renewed, by the refresh tokens.
    keys.delete(&keys.only("rsa-generated").await?).await?;
    let until = Instant::now() + RENEWED;
    for job in jobs {
        loop {
            let answer = module.get_with(job, "wait=10").await?.expect_status(200)?;
            if realm.is_active(answer.access_token()).await.map_err(|error| Failure::new(format!("{error:?}")))? {
                break;
            }
            assert!(Instant::now() < until, "{job} is still served a token of the deleted key");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    all_renew(&realm, &module, &jobs, RENEWED).await
}
