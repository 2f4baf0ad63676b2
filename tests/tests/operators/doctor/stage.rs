//! A sound set-up as deploy/ makes it, to be spoilt by one thing at a time.

use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;
use tokenvault_tests::harness::folio::{FolioRealm, FolioRealmBuilder};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, LabRealmBuilder, Tokens, VAULT};
use tokenvault_tests::harness::redis::{Redis, RedisOptions};
use tokenvault_tests::harness::setup_script;
use tokenvault_tests::harness::vault::{binary, tokenvault};
use tokenvault_tests::harness::{Failure, Result};
use toml::Table;

use crate::doctor::stand_in;

pub(crate) struct Stage {
    config: Table,
    pub(crate) dir: TempDir,
    realm: Option<Ground>,
    tenant: String,
    pub(crate) redis: Redis,
}

/// The realm that a stage is on.
enum Ground {
    Lab(LabRealm),
    Folio(FolioRealm),
}

/// Seconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "the stand-ins have clocks, which are this machine's or a little off")]
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).unwrap_or_default()
}

impl Stage {
    /// On a realm in real Keycloak.
    pub(crate) async fn sound() -> Result<Self> {
        Self::on(LabRealm::builder().without_impersonation()).await
    }

    /// On a realm of the test's choice.
    pub(crate) async fn on(realm: LabRealmBuilder) -> Result<Self> {
        let realm = realm.create().await?;
        let mut stage = Self::on_redis(Redis::options().append_only().start().await?)?;
        stage.private("client-secret", realm.secret(VAULT))?;
        stage.name_tenant(&realm)?;
        stage.tenant("accepted_clients", vec![LOGIN_APP]);
        stage.realm = Some(Ground::Lab(realm));
        Ok(stage)
    }

    /// On a realm as FOLIO makes it, which nobody has made ready for the vault.
    pub(crate) async fn on_folio(realm: FolioRealmBuilder) -> Result<Self> {
        let realm = realm.create().await?;
        let mut stage = Self::on_redis(Redis::options().append_only().start().await?)?;
        stage.private("client-secret", "chosen by the test")?;
        stage.name_tenant(&realm)?;
        stage.tenant("accepted_clients", vec![realm.login_client()]);
        stage.realm = Some(Ground::Folio(realm));
        Ok(stage)
    }

    /// Runs deploy/keycloak/setup.sh on it.
    pub(crate) async fn set_up(&self, more: &[&str]) -> Result<()> {
        self.set_up_by(&[more, setup_script::FOLIO].concat()).await
    }

    /// The same with the options of the test's choice.
    pub(crate) async fn set_up_by(&self, options: &[&str]) -> Result<()> {
        let secret_file = self.file("client-secret").display().to_string();
        let common = ["--realm", self.tenant_name(), "--secret-file", &secret_file];
        let run = setup_script::setup(keycloak().await?, &common, options)?;
        if run.status.success() { Ok(()) } else { Err(Failure::new(setup_script::said(&run))) }
    }

    /// Changes one of the realm's clients, and returns it as it was.
    pub(crate) async fn change(&self, client: &str, change: impl FnOnce(&mut Value)) -> Result<Value> {
        let (admin, realm) = (self.realm().admin(), self.realm().name());
        let mut present = admin.client(realm, client).await?;
        let mut changed = present.clone();
        change(&mut changed);
        admin.put_client(realm, &changed).await?;
        // An attribute that is not mentioned stays.
        for name in changed["attributes"].as_object().into_iter().flatten().map(|(name, _)| name) {
            if present["attributes"][name].is_null() {
                present["attributes"][name] = Value::from("");
            }
        }
        Ok(present)
    }

    /// Puts a client back as it was.
    pub(crate) async fn restore(&self, client: &Value) -> Result<()> {
        self.realm().admin().put_client(self.realm().name(), client).await
    }

    /// For a test that is not about Keycloak.
    pub(crate) async fn without_keycloak() -> Result<Self> {
        Self::with_redis(Redis::options().append_only()).await
    }

    /// The same on a Redis of the test's choice.
    pub(crate) async fn with_redis(redis: RedisOptions) -> Result<Self> {
        let mut stage = Self::on_redis(redis.start().await?)?;
        stage.private("client-secret", "not asked for")?;
        stage.describe_tenant("stand-in")?;
        stage.tenant("accepted_clients", vec![LOGIN_APP]);
        stage.stand_in(0).await?;
        Ok(stage)
    }

    /// Puts a Keycloak in place whose clock is so many seconds behind.
    pub(crate) async fn stand_in(&mut self, behind: u64) -> Result<()> {
        let issuer = stand_in::start(behind).await?;
        self.tenant("issuer", issuer.clone());
        self.tenant("base_url", issuer);
        Ok(())
    }

    fn on_redis(redis: Redis) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("tokenvault-test-doctor-").tempdir()?;
        let mut stage = Self { config: Table::new(), dir, realm: None, tenant: String::new(), redis };
        stage.certificates()?;
        let keyring = tokenvault(&["keygen", "--primary"])?.stdout;
        stage.private("keyring.toml", &String::from_utf8_lossy(&keyring))?;
        for (key, value) in [
            ("server.cert_file", "tls/server.pem"),
            ("server.key_file", "tls/server.key"),
            ("server.client_ca_file", "tls/modules-ca.pem"),
            ("keyring.file", "keyring.toml"),
            ("policy.file", "policy.toml"),
        ] {
            stage.set(key, value);
        }
        stage.set("redis.url", stage.redis.url());
        if stage.redis.password_file().is_file() {
            stage.set("redis.password_file", stage.redis.password_file().display().to_string());
        }
        Ok(stage)
    }

    fn name_tenant(&mut self, realm: &LabRealm) -> Result<()> {
        self.describe_tenant(realm.name())?;
        self.tenant("issuer", realm.issuer());
        self.tenant("base_url", realm.issuer());
        Ok(())
    }

    fn describe_tenant(&mut self, name: &str) -> Result<()> {
        name.clone_into(&mut self.tenant);
        fs::write(self.file("policy.toml"), policy(name))?;
        self.tenant("client_id", VAULT);
        self.tenant("client_secret_file", "client-secret");
        self.tenant("user_id_claim", "user_id");
        Ok(())
    }

    /// The realm, of a stage that is on one.
    pub(crate) fn realm(&self) -> &LabRealm {
        match self.realm.as_ref().expect("the test has set its stage on a realm") {
            Ground::Lab(realm) => realm,
            Ground::Folio(realm) => realm,
        }
    }

    /// What a user of FOLIO's realm gets at login.
    pub(crate) async fn login(&self, username: &str) -> Result<Tokens> {
        match &self.realm {
            Some(Ground::Folio(realm)) => Ok(realm.login(realm.user(username)?).await?),
            _ => Err(Failure::new("the stage is on no realm of FOLIO's")),
        }
    }

    /// The client that its users log in with.
    pub(crate) fn ui(&self) -> &str {
        match &self.realm {
            Some(Ground::Folio(realm)) => realm.login_client(),
            _ => LOGIN_APP,
        }
    }

    /// The tenant's name.
    pub(crate) fn tenant_name(&self) -> &str {
        &self.tenant
    }

    fn certificates(&self) -> Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/certificates.sh");
        let made = Command::new(script).arg(self.file("tls")).args(["server", "localhost"]).output()?;
        if made.status.success() {
            Ok(())
        } else {
            Err(Failure::new(String::from_utf8_lossy(&made.stderr).into_owned()))
        }
    }

    /// A file of the set-up.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes one for its owner alone.
    pub(crate) fn private(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.file(name), text)?;
        self.mode(name, 0o600)
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) -> Result<()> {
        Ok(fs::set_permissions(self.file(name), fs::Permissions::from_mode(mode))?)
    }

    /// Sets a key of the configuration.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<toml::Value>) {
        let (section, key) = key.split_once('.').unwrap_or(("", key));
        let section = self.config.entry(section).or_insert_with(|| Table::new().into());
        if let Some(section) = section.as_table_mut() {
            section.insert(key.to_owned(), value.into());
        }
    }

    /// Sets a key of the tenant.
    pub(crate) fn tenant(&mut self, key: &str, value: impl Into<toml::Value>) {
        let name = self.tenant.clone();
        let tenants = self.config.entry("tenants").or_insert_with(|| Table::new().into());
        let tenant = tenants.as_table_mut().map(|tenants| tenants.entry(name).or_insert_with(|| Table::new().into()));
        if let Some(tenant) = tenant.and_then(toml::Value::as_table_mut) {
            tenant.insert(key.to_owned(), value.into());
        }
    }

    /// Takes a key of the tenant's away.
    pub(crate) fn forget(&mut self, key: &str) {
        let name = self.tenant.clone();
        let tenant = self.config.get_mut("tenants").and_then(|tenants| tenants.get_mut(name));
        if let Some(tenant) = tenant.and_then(toml::Value::as_table_mut) {
            tenant.remove(key);
        }
    }

    /// One more tenant, with all of this one's keys but the file of its secret.
    pub(crate) fn another_tenant(&mut self, name: &str, secret_file: &str) {
        let mut tenant = self.config["tenants"][&self.tenant].clone();
        if let Some(tenant) = tenant.as_table_mut() {
            tenant.insert("client_secret_file".to_owned(), secret_file.into());
        }
        self.set(&format!("tenants.{name}"), tenant);
    }

    /// Lets the module register jobs with this acquisition only.
    pub(crate) fn register(&self, acquisition: &str) -> Result<()> {
        let policy = policy(&self.tenant).replace("[\"exchange\"]", &format!("[\"{acquisition}\"]"));
        Ok(fs::write(self.file("policy.toml"), policy)?)
    }

    /// A file with an access token of the administrator's, who may see every realm.
    pub(crate) async fn administrator(&self) -> Result<String> {
        self.private("admin-token", &self.realm().admin().token().await?)?;
        Ok(self.file("admin-token").display().to_string())
    }

    /// Everything that must not be shown.
    pub(crate) fn secrets(&self) -> Result<Vec<String>> {
        let mut secrets = vec![self.realm().secret(VAULT).to_owned(), fs::read_to_string(self.file("admin-token"))?];
        let keyring: Table = toml::from_str(&fs::read_to_string(self.file("keyring.toml"))?)?;
        let keys = keyring["keys"].as_table().into_iter().flatten();
        secrets.extend(keys.filter_map(|(_, key)| key.as_str().map(str::to_owned)));
        Ok(secrets)
    }

    fn write(&self) -> Result<PathBuf> {
        let file = self.file("tokenvault.toml");
        fs::write(&file, toml::to_string(&self.config)?)?;
        Ok(file)
    }

    /// The command itself.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<Output> {
        let file = self.write()?;
        let mut command = Command::new(binary()?);
        command.arg("doctor").arg("--config").arg(file).args(arguments).stdin(Stdio::null());
        Ok(command.output()?)
    }

    /// Its findings.
    pub(crate) fn examine(&self, arguments: &[&str]) -> Result<Findings> {
        Findings::of(&self.run(&[&["--output", "json"], arguments].concat())?)
    }

    /// Its findings with an administrator's token that was made or looked at just now.
    pub(crate) async fn examine_whole(&self, arguments: &[&str]) -> Result<Findings> {
        let token = self.administrator().await?;
        self.examine(&[&["--keycloak-admin-token", token.as_str()], arguments].concat())
    }

    /// The same in a shell that has lowered a limit first.
    pub(crate) fn examine_after(&self, preparation: &str) -> Result<Findings> {
        let file = self.write()?;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{preparation}; exec \"$0\" doctor --output json --config \"$1\"")]);
        Findings::of(&command.arg(binary()?).arg(file).stdin(Stdio::null()).output()?)
    }

    /// That this check is the only hazard, and has a remedy that says so.
    pub(crate) fn expect_only(&self, check: &str, finding: &str, remedy: &str) -> Result<()> {
        self.examine(&[])?.expect_only(check, finding, remedy)
    }
}

fn policy(tenant: &str) -> String {
    format!(
        "[[module]]\nname = \"mod-di\"\nuri_san = \"spiffe://test/mod-di\"\ntenants = [\"{tenant}\"]\nregister = [\"exchange\"]\nread = true\n"
    )
}

/// What was found.
pub(crate) struct Findings {
    pub(crate) succeeded: bool,
    lines: Vec<Value>,
}

impl Findings {
    fn of(output: &Output) -> Result<Self> {
        let said: Value = serde_json::from_slice(&output.stdout).map_err(|_| {
            let complaint = String::from_utf8_lossy(&output.stderr);
            Failure::new(format!("not JSON: {}{complaint}", String::from_utf8_lossy(&output.stdout)))
        })?;
        let lines = said["checks"].as_array().cloned().unwrap_or_default();
        Ok(Self { succeeded: output.status.success(), lines })
    }

    /// The checks of one verdict.
    pub(crate) fn verdicts(&self, verdict: &str) -> Vec<&str> {
        self.lines.iter().filter(|line| line["verdict"] == verdict).filter_map(|line| line["check"].as_str()).collect()
    }

    pub(crate) fn hazards(&self) -> Vec<&str> {
        self.verdicts("hazard")
    }

    /// A check's line.
    pub(crate) fn line(&self, check: &str) -> &Value {
        self.lines.iter().find(|line| line["check"] == check).unwrap_or(&Value::Null)
    }

    pub(crate) fn verdict(&self, check: &str) -> &str {
        self.line(check)["verdict"].as_str().unwrap_or("nothing")
    }

    /// A check's verdict about one thing of several.
    pub(crate) fn verdict_on(&self, check: &str, subject: &str) -> &str {
        let line = self.lines.iter().find(|line| line["check"] == check && line["subject"] == subject);
        line.and_then(|line| line["verdict"].as_str()).unwrap_or("nothing")
    }

    /// A check's finding.
    pub(crate) fn finding(&self, check: &str) -> &str {
        self.line(check)["finding"].as_str().unwrap_or_default()
    }

    /// A check's remedy.
    pub(crate) fn remedy(&self, check: &str) -> &str {
        self.line(check)["remedy"].as_str().unwrap_or_default()
    }

    /// What the first hazard is about.
    pub(crate) fn subject_of_the_hazard(&self) -> &str {
        let hazard = self.lines.iter().find(|line| line["verdict"] == "hazard");
        hazard.and_then(|line| line["subject"].as_str()).unwrap_or_default()
    }

    /// That this check is the only hazard, and has a remedy that says so.
    pub(crate) fn expect_only(&self, check: &str, finding: &str, remedy: &str) -> Result<()> {
        let found: Vec<_> = self.lines.iter().filter(|line| line["verdict"] == "hazard").collect();
        let says =
            |line: &Value, member: &str, text: &str| line[member].as_str().is_some_and(|said| said.contains(text));
        match found[..] {
            [line]
                if line["check"] == check
                    && says(line, "finding", finding)
                    && says(line, "remedy", remedy)
                    && !self.succeeded =>
            {
                Ok(())
            }
            _ => Err(Failure::new(format!("not only {check} ({finding} → {remedy}):\n{self}"))),
        }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
