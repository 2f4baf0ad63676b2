//! The vault as it runs in production: one or several `tokenvault serve` processes over one store, with their
//! configuration, keyring, policy and certificates in a directory of the test's own.
//!
//! It must never reach into the vault: what a test learns, it learns through HTTP, metrics, logs and the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::TempDir;
use toml::{Table, Value};

use super::certs::{Certificate, TestCa, Validity};
use super::client::Client;
use super::keycloak::http_client;
use super::policy::{self, Module};
use super::process::{Process, temporary_dir};
use super::realm::{LOGIN_APP, LabRealm, VAULT};
use super::redis::Redis;
use super::{Failure, Result, ports};

const START: Duration = Duration::from_mins(2);

/// The product's binary, built beside the tests; `TOKENVAULT_BIN` names another.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("TOKENVAULT_BIN") {
        return Ok(PathBuf::from(path));
    }
    beside("tokenvault", "cargo build --workspace")
}

/// The naive variant of it, built with the tests.
pub fn naive_binary() -> Result<PathBuf> {
    beside("naive-serve", "cargo build -p tokenvault-tests")
}

fn beside(name: &str, remedy: &str) -> Result<PathBuf> {
    let this = std::env::current_exe()?; // target/<profile>/<program>, or target/<profile>/deps/<test>
    let profile = this.ancestors().skip(1).find(|dir| !dir.ends_with("deps"));
    let binary = profile.ok_or_else(|| Failure::new("the test has no directory"))?.join(name);
    if binary.is_file() {
        return Ok(binary);
    }
    Err(Failure::new(format!("{} is missing: run `{remedy}`", binary.display())))
}

/// Runs the product's binary to its end, as an operator would: `tokenvault(&["check-config", "--config", file])`.
pub fn tokenvault(arguments: &[&str]) -> Result<std::process::Output> {
    Ok(Command::new(binary()?).args(arguments).stdin(std::process::Stdio::null()).output()?)
}

/// What the vault is given; made by [`Vault::builder`].
pub struct VaultBuilder {
    config: Table,
    modules: Vec<Module>,
    replicas: usize,
    binary: Option<PathBuf>,
    doubt: u64,
    shutdown_delay: u64,
    ca: TestCa,
    operator_ca: TestCa,
    dir: TempDir,
}

/// Whether this build of the product knows a key; one of an earlier version may be tested for comparison.
fn knows(binary: &Path, section: &'static str, key: &'static str) -> bool {
    static KNOWN: Mutex<BTreeMap<(PathBuf, &str, &str), bool>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry((binary.to_owned(), section, key)).or_insert_with(|| {
        let variable = format!("TOKENVAULT_{section}__{key}").to_uppercase();
        let check = Command::new(binary).args(["check-config", "--config", "/dev/null"]).env(&variable, "1").output();
        check.is_ok_and(|check| !String::from_utf8_lossy(&check.stdout).contains(&key.to_uppercase()))
    })
}

impl VaultBuilder {
    fn new() -> Result<Self> {
        let (ca, operator_ca, dir) = (TestCa::new()?, TestCa::new()?, temporary_dir("vault")?);
        let server = ca.server()?;
        let (config, modules, binary) = (Table::new(), Vec::new(), None);
        let mut builder =
            Self { config, modules, replicas: 1, binary, doubt: 1, shutdown_delay: 0, ca, operator_ca, dir };
        builder.write_keyring("k1", &["k1"])?;
        builder.put("server.cert_file", path(&server.cert));
        builder.put("server.key_file", path(&server.key));
        builder.put("server.client_ca_file", path(&builder.ca.cert_file()));
        builder.put("keyring.file", path(&builder.file("keyring.toml")));
        builder.put("policy.file", path(&builder.file("policy.toml")));
        builder.put("telemetry.log_level", "info,tokenvault=debug");
        Ok(builder)
    }

    /// The store.
    #[must_use]
    pub fn redis(self, redis: &Redis) -> Self {
        let password_file = redis.password_file();
        let builder = self.set("redis.url", redis.url());
        if password_file.is_file() { builder.set("redis.password_file", path(&password_file)) } else { builder }
    }

    /// A tenant, reached at its own address.
    pub fn tenant(self, realm: &LabRealm) -> Result<Self> {
        self.tenant_at(realm, realm.base_url())
    }

    /// A tenant, reached at another address than its issuer's, such as a [`super::proxy::Proxy`]'s.
    pub fn tenant_at(mut self, realm: &LabRealm, base_url: &str) -> Result<Self> {
        let secret = self.file(&format!("{}.secret", realm.name()));
        write_private(&secret, realm.secret(VAULT))?;
        let mut tenant = Table::new();
        tenant.insert("issuer".to_owned(), realm.issuer().into());
        tenant.insert("base_url".to_owned(), format!("{base_url}/realms/{}", realm.name()).into());
        tenant.insert("client_id".to_owned(), VAULT.into());
        tenant.insert("client_secret_file".to_owned(), path(&secret));
        tenant.insert("user_id_claim".to_owned(), "user_id".into());
        tenant.insert("accepted_clients".to_owned(), Value::Array(vec![LOGIN_APP.into()]));
        self.put(&format!("tenants.{}", realm.name()), tenant);
        Ok(self)
    }

    /// Lets a tenant's deposited pairs be those of this client of its realm: `adopt_clients`.
    pub fn adopt_from(self, realm: &LabRealm, client: &str) -> Result<Self> {
        let secret = self.file(&format!("{}-{client}.secret", realm.name()));
        write_private(&secret, realm.secret(client))?;
        Ok(self.set(&format!("tenants.{}.adopt_clients.{client}", realm.name()), path(&secret)))
    }

    /// A module that may call, known by the URI `spiffe://test/NAME`.
    #[must_use]
    pub fn module(mut self, module: Module) -> Self {
        self.modules.push(module);
        self
    }

    /// Sets a key by its dotted name: `set("renewal.quarantine", 2)`.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.put(key, value);
        self
    }

    /// Holds modules' certificates against a revocation list, empty at first: [`TestCa::publish_crl`] writes the next one.
    pub fn revocations(mut self) -> Result<Self> {
        let file = self.ca.publish_crl(&[], Validity::Now)?;
        self.put("server.client_crl_file", path(&file));
        Ok(self)
    }

    /// Takes a key back by its dotted name.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        let (tables, name) = key.rsplit_once('.').unwrap_or(("", key));
        let table = tables
            .split('.')
            .filter(|table| !table.is_empty())
            .try_fold(&mut self.config, |table, name| table.get_mut(name)?.as_table_mut());
        if let Some(table) = table {
            table.remove(name);
        }
        self
    }

    /// Opens the operators' listener.
    pub fn admin(mut self) -> Result<Self> {
        let server = self.ca.server()?;
        self.put("admin.cert_file", path(&server.cert));
        self.put("admin.key_file", path(&server.key));
        self.put("admin.client_ca_file", path(&self.operator_ca.cert_file()));
        self.put("admin.policy_file", path(&self.file("operators.toml")));
        Ok(self)
    }

    /// Opens the identity provider's listener.
    pub fn idp(mut self) -> Result<Self> {
        let server = self.ca.server()?;
        self.put("idp.cert_file", path(&server.cert));
        self.put("idp.key_file", path(&server.key));
        Ok(self)
    }

    /// How many processes serve side by side (default 1).
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// For how long Keycloak's no is doubted, in seconds: `renewal.doubt`. One second unless it is said, for the product's own is
    /// longer than most tests; a build that does not know the key goes without.
    #[must_use]
    pub fn doubt(mut self, seconds: u64) -> Self {
        self.doubt = seconds;
        self
    }

    /// For how long it serves on after SIGTERM, in seconds: `server.shutdown_delay`. None at all unless it is said, for nobody needs
    /// to hear of it first; a build that does not know the key goes without.
    #[must_use]
    pub fn shutdown_delay(mut self, seconds: u64) -> Self {
        self.shutdown_delay = seconds;
        self
    }

    /// Runs another program than [`binary`].
    #[must_use]
    pub fn binary(mut self, binary: PathBuf) -> Self {
        self.binary = Some(binary);
        self
    }

    /// Writes the files and starts the processes; returns when all are ready.
    pub async fn start(self) -> Result<Vault> {
        policy::write(&self.file("policy.toml"), &self.modules, &self.tenants())?;
        policy::write_operators(&self.file("operators.toml"))?;
        let Self { mut config, modules, replicas, binary, doubt, shutdown_delay, ca, operator_ca, dir } = self;
        let binary = binary.map_or_else(self::binary, Ok)?;
        for (section, key, seconds) in [("renewal", "doubt", doubt), ("server", "shutdown_delay", shutdown_delay)] {
            let table = config.entry(section).or_insert_with(|| Table::new().into());
            if let Some(table) = table.as_table_mut().filter(|_| knows(&binary, section, key)) {
                table.entry(key).or_insert_with(|| i64::try_from(seconds).unwrap_or(i64::MAX).into());
            }
        }
        let mut vault = Vault { replicas: Vec::new(), modules, ca, operator_ca, dir };
        for number in 0..replicas {
            let replica = Replica::new(number, &binary, config.clone(), vault.dir.path())?;
            vault.replicas.push(replica);
        }
        for replica in &mut vault.replicas {
            replica.wait_ready().await?;
        }
        Ok(vault)
    }

    /// A keyring with fresh keys of these names.
    fn write_keyring(&self, primary: &str, names: &[&str]) -> Result<()> {
        let mut keys = Table::new();
        for name in names {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).map_err(|_| Failure::new("the system gave no randomness"))?;
            keys.insert((*name).to_owned(), STANDARD.encode(key).into());
        }
        let mut file = Table::new();
        file.insert("primary".to_owned(), primary.into());
        file.insert("keys".to_owned(), keys.into());
        write_private(&self.file("keyring.toml"), &toml::to_string(&file)?)
    }

    fn tenants(&self) -> Vec<String> {
        let tenants = self.config.get("tenants").and_then(Value::as_table);
        tenants.map(|tenants| tenants.keys().cloned().collect()).unwrap_or_default()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn put(&mut self, key: &str, value: impl Into<Value>) {
        put(&mut self.config, key, value.into());
    }
}

/// One `tokenvault serve` process. Its methods come after its [`Process`]'s.
pub struct Replica {
    process: Process,
    name: String,
    binary: PathBuf,
    config_file: PathBuf,
    addresses: [u16; 4],
    http: reqwest::Client,
}

impl Replica {
    fn new(number: usize, binary: &Path, mut config: Table, dir: &Path) -> Result<Self> {
        let addresses = [ports::free()?, ports::free()?, ports::free()?, ports::free()?];
        for (section, port) in ["server", "admin", "idp", "management"].into_iter().zip(addresses) {
            // Some listeners are there only where their sections are.
            if section == "management" || config.contains_key(section) {
                put(&mut config, &format!("{section}.listen"), format!("127.0.0.1:{port}").into());
            }
        }
        let name = format!("tokenvault-{number}");
        let config_file = dir.join(format!("{name}.toml"));
        fs::write(&config_file, toml::to_string(&config)?)?;
        let process = serve(&name, binary, &config_file, dir)?;
        Ok(Self { process, name, binary: binary.to_owned(), config_file, addresses, http: http_client()? })
    }

    /// Where modules call.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.addresses[0])
    }

    /// Where operators call.
    pub fn admin_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.addresses[1])
    }

    /// Where the identity provider calls.
    pub fn idp_url(&self) -> String {
        format!("https://127.0.0.1:{}", self.addresses[2])
    }

    /// Health and metrics.
    pub fn management_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.addresses[3])
    }

    /// Its configuration file.
    pub fn config_file(&self) -> &Path {
        &self.config_file
    }

    /// Its process: pause, resume, log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM, and waits until it has drained and ended.
    pub async fn terminate(&mut self, within: Duration) -> Result<ExitStatus> {
        self.process.terminate(within).await
    }

    /// Starts it again at the same addresses with what its configuration file says by now.
    pub async fn restart(&mut self) -> Result<()> {
        self.respawn()?;
        self.wait_ready().await
    }

    /// The same without waiting until it is ready.
    pub fn respawn(&mut self) -> Result<()> {
        self.process.retire();
        let dir = self.config_file.parent().unwrap_or(Path::new(""));
        self.process = serve(&self.name, &self.binary, &self.config_file, dir)?;
        Ok(())
    }

    /// Whether `/readyz` says yes.
    pub async fn is_ready(&self) -> bool {
        is_ready(&self.http, &self.management_url()).await
    }

    /// What `/readyz` says, whether or not it is ready.
    pub async fn readiness(&self) -> Result<serde_json::Value> {
        Ok(self.http.get(format!("{}/readyz", self.management_url())).send().await?.json().await?)
    }

    /// `/metrics`, whole.
    pub async fn metrics(&self) -> Result<String> {
        let url = format!("{}/metrics", self.management_url());
        Ok(self.http.get(url).send().await?.error_for_status()?.text().await?)
    }

    /// The sum of a metric's series whose labels contain `labels` (empty: all); 0 if there is none.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let text = self.metrics().await?;
        let series = text.lines().filter_map(|line| line.strip_prefix(name));
        let series = series.filter(|rest| rest.starts_with(['{', ' ']) && rest.contains(labels));
        Ok(series.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }

    /// Waits until it is.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let (http, url) = (self.http.clone(), self.management_url());
        self.process.wait_ready(START, || is_ready(&http, &url)).await
    }
}

/// A running vault of one or several replicas; gone when dropped.
pub struct Vault {
    replicas: Vec<Replica>,
    modules: Vec<Module>,
    ca: TestCa,
    operator_ca: TestCa,
    dir: TempDir,
}

impl Vault {
    /// Start here: `Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di")).start().await?`.
    pub fn builder() -> Result<VaultBuilder> {
        VaultBuilder::new()
    }

    /// The first replica.
    pub fn replica(&mut self) -> &mut Replica {
        &mut self.replicas[0]
    }

    /// All replicas.
    pub fn replicas(&mut self) -> &mut [Replica] {
        &mut self.replicas
    }

    /// The replicas' processes.
    pub fn process_ids(&self) -> Vec<u32> {
        self.replicas.iter().map(|replica| replica.process.id()).collect()
    }

    /// A module's client for the first replica. The module is one the vault was built with.
    pub fn client(&self, module: &str) -> Result<Client> {
        self.client_of(module, 0)
    }

    /// A module's client for one replica.
    pub fn client_of(&self, module: &str, replica: usize) -> Result<Client> {
        let known = self.modules.iter().find(|known| known.name() == module);
        let known = known.ok_or_else(|| Failure::new(format!("the vault was built without a module {module}")))?;
        self.client_with(&self.ca.issue(&policy::subject(known))?, replica)
    }

    /// A client with any certificate, for one replica.
    pub fn client_with(&self, certificate: &Certificate, replica: usize) -> Result<Client> {
        Client::new(&self.replicas[replica].url(), &self.ca, Some(certificate))
    }

    /// An operator's client for the admin API of one replica; `role` is `view` or `operate`.
    pub fn operator(&self, role: &str, replica: usize) -> Result<Client> {
        let certificate = self.operator_certificate(role)?;
        Client::new(&self.replicas[replica].admin_url(), &self.ca, Some(&certificate))
    }

    /// An operator's certificate.
    pub fn operator_certificate(&self, role: &str) -> Result<Certificate> {
        self.operator_ca.client_uri(&policy::uri(&format!("operator-{role}")))
    }

    /// A client without a certificate for the identity provider's listener of one replica.
    pub fn idp_client(&self, replica: usize) -> Result<Client> {
        Client::new(&self.replicas[replica].idp_url(), &self.ca, None)
    }

    /// The authority of the servers' and the modules' certificates.
    pub fn ca(&self) -> &TestCa {
        &self.ca
    }

    /// The directory with configuration, keyring, policy and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

fn serve(name: &str, binary: &Path, config_file: &Path, dir: &Path) -> Result<Process> {
    let mut command = Command::new(binary);
    command.arg("serve").arg("--config").arg(config_file);
    Process::spawn(name, command, dir)
}

async fn is_ready(http: &reqwest::Client, management_url: &str) -> bool {
    http.get(format!("{management_url}/readyz")).send().await.is_ok_and(|answer| answer.status().is_success())
}

fn put(table: &mut Table, key: &str, value: Value) {
    let Some((head, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let inner = table.entry(head).or_insert_with(|| Table::new().into());
    if let Some(inner) = inner.as_table_mut() {
        put(inner, rest, value);
    }
}

fn path(path: &Path) -> Value {
    path.display().to_string().into()
}

fn write_private(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(file, text)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
