//! The vault proves itself to a real Keycloak by signatures (RFC 7523), with keys that Keycloak fetches, and changes its key
//! without losing a job.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::poll;
use tokenvault_tests::harness::realm::{LabRealm, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;

const MODULE: &str = "mod-di";
/// Keycloak asks for a client's keys once in ten seconds at most, however many it does not know.
const PATIENCE: Duration = Duration::from_mins(1);

/// The client's key set, as Keycloak fetches it.
#[derive(Clone, Default)]
struct KeySet(Arc<Mutex<Vec<Value>>>);

impl KeySet {
    fn set(&self, keys: &[&Key]) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = keys.iter().map(|key| key.jwk.clone()).collect();
    }

    /// Serves it; the address.
    async fn serve(&self) -> Result<String> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://127.0.0.1:{}/keys", listener.local_addr()?.port());
        let set = self.clone();
        let keys = async move || Json(json!({ "keys": *set.0.lock().unwrap_or_else(PoisonError::into_inner) }));
        tokio::spawn(async { axum::serve(listener, Router::new().route("/keys", get(keys))).await });
        Ok(url)
    }
}

struct Key {
    pem: String,
    jwk: Value,
    kid: &'static str,
}

impl Key {
    fn new(kid: &'static str) -> Result<Self> {
        let pem = rcgen::KeyPair::generate()?.serialize_pem();
        let key = jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes())?;
        let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES256)?;
        let mut jwk = serde_json::to_value(jwk)?;
        (jwk["kid"], jwk["use"]) = (json!(kid), json!("sig"));
        Ok(Self { pem, jwk, kid })
    }

    /// Puts it where the vault reads it, and its id into the vault's configuration.
    fn hand_out(&self, tenant: &str, file: &Path, config_file: &Path) -> Result<()> {
        fs::write(file, &self.pem)?;
        let mut config = fs::read_to_string(config_file)?.parse::<toml::Table>()?;
        config["tenants"][tenant]["private_key_jwt_kid"] = self.kid.into();
        fs::write(config_file, toml::to_string(&config)?)?;
        Ok(())
    }
}

/// Registers until Keycloak has taken notice of the key, or for too long.
async fn registered(client: &Client, realm: &LabRealm, acquisition: &str) -> Result<String> {
    let job = uuid::Uuid::new_v4().to_string();
    let proof = realm.login("alice").await?;
    let body = json!({"access_token": proof.access_token, "acquisition": acquisition});
    poll("a registration", PATIENCE, || async {
        client.put(&job, &body).await.ok().filter(|answer| answer.status == 201)
    })
    .await?;
    Ok(job)
}

/// Waits until a job has had so many pairs.
async fn renewed(client: &Client, job: &str, generation: u64) -> Result<u64> {
    poll("a renewal", PATIENCE, || async {
        let answer = client.get(job).await.ok().filter(|answer| answer.status == 200)?;
        answer.body["generation"].as_u64().filter(|had| *had > generation)
    })
    .await
}

#[tokio::test]
async fn jobs_survive_a_change_of_the_vaults_key_and_a_wrong_key_is_told() -> Result<()> {
    let (redis, realm) = (Redis::start().await?, LabRealm::builder().at_ttl(6).create().await?);
    let (keys, old, new, wrong) = (KeySet::default(), Key::new("old")?, Key::new("new")?, Key::new("new")?);
    keys.set(&[&old]);
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["clientAuthenticatorType"] = json!("client-jwt");
    client["attributes"]["use.jwks.url"] = json!("true");
    client["attributes"]["jwks.url"] = json!(keys.serve().await?);
    realm.admin().put_client(realm.name(), &client).await?;
    let place = tempfile::tempdir()?;
    let file = place.path().join("client-key.pem");
    fs::write(&file, &old.pem)?;
    let tenant = format!("tenants.{}", realm.name());
    let mut vault = Vault::builder()?
        .redis(&redis)
        .tenant(&realm)?
        .without(&format!("{tenant}.client_secret_file"))
        .set(&format!("{tenant}.private_key_jwt_file"), file.display().to_string())
        .set(&format!("{tenant}.private_key_jwt_kid"), old.kid)
        .set("renewal.retry_max", 1)
        .module(Module::new(MODULE).register(&["exchange", "impersonate"]))
        .start()
        .await?;
    let (module, config) = (vault.client(MODULE)?, vault.replica().config_file().to_owned());

    // Every call there is: exchange, impersonation, probe, renewal, revocation.
    let job = registered(&module, &realm, "exchange").await?;
    let apart = registered(&module, &realm, "impersonate").await?;
    let had = renewed(&module, &job, 1).await?;
    renewed(&module, &apart, 1).await?;
    module.delete(&apart).await?.expect_status(204)?;
    for call in ["exchange", "impersonate", "probe", "revoke"] {
        let labels = format!("call=\"{call}\",outcome=\"ok\"");
        let replica = vault.replica();
        let counted = async || replica.metric("tokenvault_keycloak_requests_total", &labels).await.ok();
        // A session is revoked in the background, after its release has been answered.
        poll(call, PATIENCE, || async { counted().await.filter(|count| *count > 0.0) }).await?;
    }

    // Both keys are known while the vault changes from the one to the other; then the old one goes.
    keys.set(&[&old, &new]);
    new.hand_out(realm.name(), &file, &config)?;
    vault.replica().restart().await?;
    let had = renewed(&module, &job, had).await?;
    keys.set(&[&new]);
    renewed(&module, &job, had).await?;
    registered(&module, &realm, "exchange").await?;

    // The right id and another key: Keycloak says no, and the vault says whose fault it is.
    wrong.hand_out(realm.name(), &file, &config)?;
    vault.replica().restart().await?;
    let proof = realm.login("alice").await?;
    let refused = module.register("job-of-a-wrong-key", &proof).await?;
    assert_eq!((refused.status.as_u16(), refused.code()), (502, "idp_rejected"), "{refused:?}");
    assert_eq!(refused.body["reason"], "client_rejected", "{refused:?}");
    let counted = vault.replica().metric("tokenvault_keycloak_requests_total", "outcome=\"client_rejected\"").await?;
    assert!(counted > 0.0);
    Ok(())
}
