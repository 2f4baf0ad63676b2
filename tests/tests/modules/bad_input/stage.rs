//! What the cases share: one `tokenvault serve` over a Redis and two realms, for as long as any of them runs. The cases are
//! kept apart by their job ids.

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::keyspace::Keyspace;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::shared::SharedWhileUsed;
use tokenvault_tests::harness::vault::Vault;
use toml::Table;

/// A client of the first realm whose access tokens live two seconds.
pub(crate) const SHORT_APP: &str = "short-app";
/// A user of the first realm, made for that client.
pub(crate) const CAROL: &str = "carol";
/// A tenant on the first realm that takes proofs for one second only.
pub(crate) const AGED: &str = "aged";

/// The stage.
pub(crate) struct Stage {
    /// The first realm, the tenant of most modules.
    pub(crate) realm: LabRealm,
    /// Another one, where the vault's service account may not impersonate.
    pub(crate) other: LabRealm,
    pub(crate) redis: Redis,
    pub(crate) vault: Vault,
    /// The configuration it was started with.
    pub(crate) config: Table,
    carols_password: String,
    _dir: TempDir,
}

/// The stage that is up, or a new one.
pub(crate) async fn stage() -> Result<Arc<Stage>> {
    static UP: SharedWhileUsed<Stage> = SharedWhileUsed::new();
    UP.get(Stage::start).await
}

impl Stage {
    async fn start() -> Result<Self> {
        let mut realm = LabRealm::builder().create().await?;
        let other = LabRealm::builder().without_impersonation().create().await?;
        let carols_password = add_short_app(&mut realm).await?;
        let (redis, dir) = (Redis::start().await?, tempfile::tempdir()?);
        let (first, second) = (realm.name().to_owned(), other.name().to_owned());
        let adoptable = dir.path().join("login-app.secret");
        std::fs::write(&adoptable, realm.secret(LOGIN_APP))?;
        let adoptable: Table = [(LOGIN_APP.to_owned(), adoptable.display().to_string().into())].into_iter().collect();
        let aged = dir.path().join("aged.secret");
        std::fs::write(&aged, realm.secret(VAULT))?;
        let only = |name: &str| Module::new(name).tenants(&[&first]);
        let all = ["exchange", "impersonate", "adopt"];
        let mut vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .tenant(&other)?
            .set(&format!("tenants.{first}.accepted_clients"), vec![LOGIN_APP, SHORT_APP])
            .set(&format!("tenants.{first}.adopt_clients"), adoptable)
            .set(&format!("tenants.{AGED}.issuer"), realm.issuer())
            .set(&format!("tenants.{AGED}.client_id"), VAULT)
            .set(&format!("tenants.{AGED}.client_secret_file"), aged.display().to_string())
            .set(&format!("tenants.{AGED}.user_id_claim"), "user_id")
            .set(&format!("tenants.{AGED}.accepted_clients"), vec![LOGIN_APP])
            .set(&format!("tenants.{AGED}.max_proof_age"), 1)
            .set(&format!("tenants.{AGED}.acquisitions"), vec!["exchange"])
            .module(only("mod-di"))
            .module(only("mod-second"))
            .module(only("mod-all").register(&all))
            .module(only("mod-reader").register(&[]).actions(&["read"]))
            .module(only("mod-mute").register(&[]).actions(&[]))
            .module(only("mod-dns").dns_san("mod-dns.example.org"))
            .module(only("mod-cn").common_name("mod-cn"))
            .module(Module::new("mod-many").tenants(&[&first, &second]).register(&all))
            .module(Module::new("mod-aged").tenants(&[AGED]).register(&all))
            .start()
            .await?;
        let config = toml::from_str(&std::fs::read_to_string(vault.replica().config_file())?)?;
        Ok(Self { realm, other, redis, vault, config, carols_password, _dir: dir })
    }

    /// Tokens of Carol's; the access token lives two seconds.
    pub(crate) async fn short_lived(&self) -> Result<Tokens> {
        let form = [("grant_type", "password"), ("username", CAROL), ("password", &self.carols_password)];
        Ok(self.realm.token(SHORT_APP, &form).await?)
    }

    /// A module's client.
    pub(crate) fn client(&self, module: &str) -> Result<Client> {
        self.vault.client(module)
    }

    /// The record of a job as Redis has it.
    pub(crate) async fn record(&self, job: &str) -> Result<Keyspace> {
        let mut whole = Keyspace::read(&self.redis).await?;
        let end = format!(":job:{}:{job}", self.realm.name());
        whole.0.retain(|key, _| key.ends_with(end.as_bytes()));
        Ok(whole)
    }

    /// Asserts that Redis has nothing of a job, not even an index entry.
    pub(crate) async fn assert_untouched(&self, job: &str) -> Result<()> {
        let found = Keyspace::read(&self.redis).await?.mentions(job);
        assert!(found.is_empty(), "{job} left {found:?}");
        Ok(())
    }

    /// Asserts that there is no record of a job and that nothing is due for it. An entry in its session may stay, where
    /// Keycloak's answer is not known: the job joins before it asks.
    pub(crate) async fn assert_no_record(&self, job: &str) -> Result<()> {
        assert_no_record(&self.redis, job).await
    }
}

/// See [`Stage::assert_no_record`].
pub(crate) async fn assert_no_record(redis: &Redis, job: &str) -> Result<()> {
    let mut found = Keyspace::read(redis).await?.mentions(job);
    found.retain(|key| !key.contains(":session:") && !key.contains(":joining:"));
    assert!(found.is_empty(), "{job} left {found:?}");
    Ok(())
}

/// Returns Carol's password.
async fn add_short_app(realm: &mut LabRealm) -> Result<String> {
    let mut client = realm.admin().client(realm.name(), LOGIN_APP).await?;
    let secret = new_job();
    client["id"] = Value::Null;
    client["clientId"] = json!(SHORT_APP);
    client["secret"] = json!(secret);
    client["attributes"]["access.token.lifespan"] = json!("2");
    for mapper in client["protocolMappers"].as_array_mut().into_iter().flatten() {
        mapper["id"] = Value::Null;
    }
    realm.admin().put_client(realm.name(), &client).await?;
    realm.learn_secret(SHORT_APP, &secret);
    let password = new_job();
    let carol = json!({
        "username": CAROL,
        "enabled": true,
        "email": "carol@example.org",
        "emailVerified": true,
        "firstName": CAROL,
        "lastName": "Lab",
        "attributes": { "user_id": [new_job()] },
        "credentials": [{ "type": "password", "value": password }],
    });
    realm.admin().create_user(realm.name(), &carol).await?;
    Ok(password)
}

/// A job id of the case's own.
pub(crate) fn new_job() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The body of a registration.
pub(crate) fn proof(tokens: &Tokens) -> Value {
    json!({ "access_token": tokens.access_token })
}

/// The same body with one more member.
pub(crate) fn with(mut body: Value, name: &str, value: impl Into<Value>) -> Value {
    body[name] = value.into();
    body
}

/// Asserts that an answer is the problem it should be, in every respect that holds for all of them.
#[track_caller]
pub(crate) fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/problem+json", "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store", "{answer:?}");
    assert_eq!(answer.body["type"], format!("/problems/{code}"));
    assert_eq!(answer.body["status"], status);
    for member in ["title", "detail", "instance"] {
        assert!(answer.body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {answer:?}");
    }
    assert_eq!(answer.headers.contains_key("retry-after"), matches!(status, 429 | 503), "{answer:?}");
    assert!(!answer.body.to_string().contains("eyJ"), "a token is shown: {answer:?}");
}

/// Asserts that the proof was refused by this check.
#[track_caller]
pub(crate) fn assert_check(answer: &Answer, check: &str) {
    assert_problem(answer, 422, "token_rejected");
    assert_eq!(answer.body["check"], check, "{answer:?}");
}
