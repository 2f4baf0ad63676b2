//! What Keycloak says of a session is believed only when it has been said for a while; and a pair is not given up while
//! anything of it is good. On real parts: Keycloak, Redis, the vault as processes.

#![allow(clippy::disallowed_methods, reason = "how long a real process takes is measured by the real clock")]

mod ends;
mod errs;
mod keys;
mod liar;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result};

const MODULE: &str = "mod-data-import";

/// A vault over a realm, reached at an address of the test's choice.
fn configured(realm: &LabRealm, redis: &Redis, base_url: &str) -> Result<VaultBuilder> {
    Vault::builder()?
        .redis(redis)
        .tenant_at(realm, base_url)?
        .module(Module::new(MODULE).register(&["exchange", "impersonate", "adopt"]))
        .set(&format!("tenants.{}.on_logout", realm.name()), "continue")
        .adopt_from(realm, LOGIN_APP)
}

async fn register(module: &Client, job: &str, proof: &Tokens, more: Value) -> Result<()> {
    let mut body = json!({ "access_token": proof.access_token });
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
        body.extend(more);
    }
    module.put(job, &body).await?.expect_status(201).map(drop)
}

/// Every kind of job that a session of the user's can end or that survives it, by name.
async fn register_all(module: &Client, proof: &Tokens) -> Result<[&'static str; 4]> {
    register(module, "exchanged", proof, json!({})).await?;
    register(module, "child", proof, json!({ "parent_job_id": "exchanged" })).await?;
    register(module, "watched", proof, json!({ "acquisition": "impersonate", "on_logout": "revoke" })).await?;
    register(module, "own", proof, json!({ "acquisition": "impersonate", "on_logout": "continue" })).await?;
    Ok(["exchanged", "child", "watched", "own"])
}

/// Reads jobs until each has been given a token of a later generation than `before` says; every read must succeed, and its
/// token must be one that Keycloak holds to be active.
async fn all_renew(realm: &LabRealm, module: &Client, jobs: &[&str], within: Duration) -> Result<()> {
    let mut first = Vec::new();
    for job in jobs {
        first.push(generation(realm, module, job).await?);
    }
    let until = Instant::now() + within;
    for (job, before) in jobs.iter().zip(first) {
        while generation(realm, module, job).await? <= before {
            if Instant::now() > until {
                return Err(Failure::new(format!("{job} was not renewed within {within:?}")));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

async fn generation(realm: &LabRealm, module: &Client, job: &str) -> Result<u64> {
    let answer = module.get_with(job, "wait=10").await?.expect_status(200)?;
    let active = realm.is_active(answer.access_token()).await.map_err(|error| Failure::new(format!("{error:?}")))?;
    if !active {
        return Err(Failure::new(format!("{job} was served a token that is not active")));
    }
    answer.body["generation"].as_u64().ok_or_else(|| Failure::new("no generation"))
}
