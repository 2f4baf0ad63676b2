//! A vault whose every secret is known, and everything that can be seen of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokenvault_tests::harness::collector::Collector;
use tokenvault_tests::harness::fake_keycloak::{CannedAnswer, FakeKeycloak};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::keyspace::Keyspace;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::SOON;
use tokenvault_tests::harness::proxy::Proxy;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, Tokens, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, binary};
use tokenvault_tests::harness::{Failure, Result};
use toml::Table;

use crate::canary::secrets::Canaries;

/// The life of access tokens: short, so that pairs are renewed during the run.
const AT_TTL: u64 = 8;

/// The parts.
pub(crate) struct Stage {
    /// The tenant whose client proves itself by a secret.
    pub(crate) realm: LabRealm,
    /// The tenant whose client proves itself by a signature.
    pub(crate) signing: LabRealm,
    pub(crate) redis: Redis,
    pub(crate) vault: Vault,
    /// Between the vault and `keycloak`, for both tenants.
    pub(crate) proxy: Proxy,
    pub(crate) keycloak: FakeKeycloak,
    /// A job that is registered.
    pub(crate) job: String,
    pub(crate) login: Tokens,
    /// Secrets that came up on the way.
    pub(crate) more: Vec<(String, String)>,
    redis_password: String,
    signing_key: String,
    hash_key: String,
    audit: PathBuf,
    collector: Collector,
    collector_token: String,
    config: Table,
    dir: TempDir,
}

/// The last request of a run belongs to this trace: when it has been told, so has everything before.
const LAST_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

impl Stage {
    pub(crate) async fn start(log_format: &str) -> Result<Self> {
        let (realm, signing) = (LabRealm::builder().at_ttl(AT_TTL), LabRealm::builder().at_ttl(AT_TTL));
        let (realm, signing) = (realm.create().await?, signing.create().await?);
        let signing_key = let_the_vault_sign(&signing).await?;
        let redis_password = unique();
        let redis = Redis::options().append_only().password(&redis_password).line("rdbcompression no").start().await?;
        let keycloak = FakeKeycloak::before(keycloak().await?.base_url(), outage()).await?;
        keycloak.pass();
        let proxy = Proxy::to(keycloak.url().trim_start_matches("http://")).await?;
        let dir = tempfile::tempdir()?;
        let (key_file, adoptable) = (dir.path().join("signing.pem"), dir.path().join("login-app.secret"));
        let (audit, hash_key_file) = (dir.path().join("audit.log"), dir.path().join("audit-hash-key"));
        let (hash_key, collector_token) = (unique(), unique());
        let (collector, headers) = (Collector::start().await?, dir.path().join("otlp-headers"));
        fs::write(&headers, format!("x-collector-token: {collector_token}\n"))?;
        fs::write(&hash_key_file, &hash_key)?;
        fs::write(&key_file, &signing_key)?;
        fs::write(&adoptable, realm.secret(LOGIN_APP))?;
        let adoptable: Table = [(LOGIN_APP.to_owned(), adoptable.display().to_string().into())].into_iter().collect();
        let signer = |key: &str| format!("tenants.{}.{key}", signing.name());
        let all = ["exchange", "impersonate", "adopt"];
        let mut vault = Vault::builder()?
            .redis(&redis)
            .tenant_at(&realm, &proxy.url("http"))?
            .set(&format!("tenants.{}.adopt_clients", realm.name()), adoptable)
            .set(&format!("tenants.{}.request_timeout", realm.name()), 8)
            .set(&signer("issuer"), signing.issuer())
            .set(&signer("base_url"), format!("{}/realms/{}", proxy.url("http"), signing.name()))
            .set(&signer("client_id"), VAULT)
            .set(&signer("private_key_jwt_file"), key_file.display().to_string())
            .set(&signer("user_id_claim"), "user_id")
            .set(&signer("accepted_clients"), vec![LOGIN_APP])
            .set("audit.file", audit.display().to_string())
            .set("audit.hash_key_file", hash_key_file.display().to_string())
            .set("audit.required", true)
            .admin()?
            .idp()?
            .set("telemetry.otlp_endpoint", collector.url())
            .set("telemetry.otlp_headers_file", headers.display().to_string())
            .set("telemetry.log_level", "trace")
            .set("telemetry.log_format", log_format)
            .module(Module::new("mod-di").register(&all))
            .binary(that_may_leave_a_core(dir.path())?)
            .start()
            .await?;
        let config = toml::from_str(&fs::read_to_string(vault.replica().config_file())?)?;
        let login = realm.login("alice").await?;
        let (job, more) = (unique(), Vec::new());
        Ok(Self {
            realm,
            signing,
            redis,
            vault,
            proxy,
            keycloak,
            job,
            login,
            more,
            redis_password,
            signing_key,
            hash_key,
            audit,
            collector,
            collector_token,
            config,
            dir,
        })
    }

    /// Notes a pair that was issued to somebody.
    pub(crate) fn note(&mut self, whose: &str, tokens: &Tokens) {
        self.more.push((format!("access token of {whose}"), tokens.access_token.clone()));
        self.more.extend(tokens.refresh_token.clone().map(|token| (format!("refresh token of {whose}"), token)));
    }

    /// A file with a token of a Keycloak administrator's.
    pub(crate) async fn administrators_token(&mut self) -> Result<String> {
        let (token, file) = (self.realm.admin().token().await?, self.dir.path().join("admin-token"));
        fs::write(&file, &token)?;
        self.more.push(("the token of Keycloak's administrator".to_owned(), token));
        Ok(file.display().to_string())
    }

    /// Every secret of the run so far.
    pub(crate) fn canaries(&self) -> Result<Canaries> {
        let mut canaries = Canaries::default();
        canaries.add("the store's password", &self.redis_password);
        canaries.add("the vault's client secret", self.realm.secret(VAULT));
        canaries.add("the adopted client's secret", self.realm.secret(LOGIN_APP));
        canaries.add("the key of the audit log", &self.hash_key);
        canaries.add("the token for the collector", &self.collector_token);
        canaries.add_pem("the signing key", &self.signing_key);
        canaries.add_pem("the server's key", &fs::read_to_string(self.file("server", "key_file"))?);
        let keyring: Table = toml::from_str(&fs::read_to_string(self.file("keyring", "file"))?)?;
        for (id, key) in keyring["keys"].as_table().into_iter().flatten() {
            let key = key.as_str().unwrap_or_default();
            canaries.add(format!("the key {id} in base64"), key);
            canaries.add_bytes(format!("the key {id}"), &STANDARD.decode(key)?);
        }
        canaries.add("access token of the login", &self.login.access_token);
        canaries.add("refresh token of the login", self.login.refresh());
        for (name, secret) in self.keycloak.secrets().iter().chain(&self.more) {
            canaries.add(name, secret);
        }
        Ok(canaries)
    }

    /// Everything that can be seen of the vault from outside; `told` is what its answers said. The log comes first.
    pub(crate) async fn places(&mut self, told: String) -> Result<Vec<(String, Vec<u8>)>> {
        let traces = self.traces().await?;
        let store = bytes_of(&Keyspace::read(&self.redis).await?);
        let replica = self.vault.replica();
        let metrics = replica.metrics().await?;
        let process = replica.process();
        let system = |name: &str| fs::read(format!("/proc/{}/{name}", process.id()));
        // The system shows it to root alone, and there is nothing to search where it does not.
        let environment = system("environ").or_else(|error| match error.kind() {
            std::io::ErrorKind::PermissionDenied => Ok(b"not shown".to_vec()),
            _ => Err(error),
        });
        Ok([
            ("the log", process.log().into_bytes()),
            ("the answers", told.into_bytes()),
            ("the store", store),
            ("the audit log", fs::read(&self.audit)?),
            ("the metrics", metrics.into_bytes()),
            ("the traces", traces),
            ("the command line", system("cmdline")?),
            ("the environment", environment?),
        ]
        .map(|(place, bytes)| (place.to_owned(), bytes))
        .into())
    }

    /// Every byte the collector was told, of all kinds of traces.
    async fn traces(&self) -> Result<Vec<u8>> {
        let last = format!("00-{LAST_TRACE}-00f067aa0ba902b7-01");
        let client = self.vault.client("mod-di")?.for_tenant(self.realm.name())?.with_header("traceparent", &last)?;
        client.get(&self.job).await?.expect_status(200)?;
        let told = self.collector.until(|told| told.of(LAST_TRACE).next().is_some()).await?;
        for name in ["PUT /tokens/{job_id}", "renewal", "create", "POST /realms/{realm}/protocol/openid-connect/token"]
        {
            if !told.spans().any(|span| span.name == name) {
                return Err(Failure::new(format!("no trace of {name} was told")));
            }
        }
        Ok(self.collector.raw())
    }

    /// Ends the process as a crash does, and looks whether a core is left.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        let process = self.vault.replica().process();
        let pid = Pid::from_raw(i32::try_from(process.id())?).ok_or_else(|| Failure::new("no process"))?;
        kill_process(pid, Signal::ABORT)?;
        let status = process.wait_for_exit(SOON).await?;
        assert_eq!((status.signal(), status.core_dumped()), (Some(Signal::ABORT.as_raw()), false));
        let left: Vec<_> = fs::read_dir(cores(self.dir.path()))?.filter_map(std::result::Result::ok).collect();
        assert!(left.is_empty(), "a core was left: {left:?}");
        Ok(())
    }

    fn file(&self, section: &str, key: &str) -> String {
        self.config[section][key].as_str().unwrap_or_default().to_owned()
    }
}

/// A whole keyspace in one.
pub(crate) fn bytes_of(keyspace: &Keyspace) -> Vec<u8> {
    let parts = keyspace.0.iter().flat_map(|(key, contents)| std::iter::once(key).chain(contents));
    parts.flat_map(|part| part.iter().copied().chain([b'\n'])).collect()
}

/// Where a core of the vault's would be.
fn cores(dir: &Path) -> PathBuf {
    dir.join("cores")
}

/// The product's binary, started where a core would be seen, and with all the room that a core may have.
fn that_may_leave_a_core(dir: &Path) -> Result<PathBuf> {
    let (file, cores) = (dir.join("tokenvault.sh"), cores(dir));
    fs::create_dir(&cores)?;
    let become_it = format!("cd '{}'\nexec '{}' \"$@\"", cores.display(), binary()?.display());
    fs::write(&file, format!("#!/bin/sh\nulimit -c \"$(ulimit -H -c)\"\n{become_it}\n"))?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(file)
}

/// A text that is nowhere else.
pub(crate) fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What an outage says: an error that shows a token, as a careless proxy's page might.
fn outage() -> CannedAnswer {
    let body = json!({
        "error": "unknown_error",
        "error_description": "while handling eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJl",
    });
    CannedAnswer { status: 500, media_type: "application/json", body: body.to_string() }
}

/// Makes the vault's client prove itself by signatures; returns its private key.
async fn let_the_vault_sign(realm: &LabRealm) -> Result<String> {
    let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?.serialize_pem();
    let key = jsonwebtoken::EncodingKey::from_ec_pem(pem.as_bytes())?;
    let algorithm = jsonwebtoken::Algorithm::ES256;
    let mut jwk: Value = serde_json::to_value(jsonwebtoken::jwk::Jwk::from_encoding_key(&key, algorithm)?)?;
    jwk["use"] = json!("sig");
    let mut client = realm.admin().client(realm.name(), VAULT).await?;
    client["clientAuthenticatorType"] = json!("client-jwt");
    client["attributes"]["use.jwks.string"] = json!("true");
    client["attributes"]["jwks.string"] = json!(json!({ "keys": [jwk] }).to_string());
    realm.admin().put_client(realm.name(), &client).await?;
    Ok(pem)
}
