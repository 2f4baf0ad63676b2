//! An operator with a page of documentation, a checkout, a terminal, a realm of FOLIO's that knows nothing of the vault, and a
//! Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tokenvault_tests::harness::folio::FolioRealm;
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::process::{Process, SOON};
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::tools::tool;
use tokenvault_tests::harness::vault::binary;
use tokenvault_tests::harness::{Failure, Result, ports, root};

/// A page with blocks for operators.
pub(super) struct Page {
    pub(super) file: &'static str,
    /// Its blocks, in their order.
    pub(super) order: &'static [&'static str],
    /// The variables of the block `yours`.
    pub(super) own: &'static [&'static str],
}

impl Page {
    /// The shell blocks after `<!-- operator: NAME -->`.
    fn blocks(&self) -> Result<Vec<(String, String)>> {
        let text = fs::read_to_string(root().join(self.file))?;
        let marked = text.split("<!-- operator: ").skip(1).map(|rest| {
            let (name, rest) = rest.split_once(" -->\n```sh\n")?;
            let (block, _) = rest.split_once("\n```\n")?;
            Some((name.to_owned(), block.to_owned()))
        });
        let blocks: Option<Vec<_>> = marked.collect();
        let blocks = blocks.ok_or_else(|| Failure::new(format!("a mark in {} has no block", self.file)))?;
        let named: Vec<&str> = blocks.iter().map(|(name, _)| name.as_str()).collect();
        if named == self.order { Ok(blocks) } else { Err(Failure::new(format!("{} has {named:?}", self.file))) }
    }
}

pub(super) struct Operator {
    blocks: BTreeMap<String, String>,
    exports: String,
    path: std::ffi::OsString,
    listen: [String; 3],
    /// Whether the page has a listener for operators.
    administers: bool,
    prometheus: String,
    pub(super) realm: FolioRealm,
    dir: tempfile::TempDir,
    _redis: Redis,
}

impl Operator {
    pub(super) async fn new(page: &Page) -> Result<Self> {
        let blocks: BTreeMap<String, String> = page.blocks()?.into_iter().collect();
        let (keycloak, redis) = (keycloak().await?, Redis::options().append_only().start().await?);
        let realm = FolioRealm::builder().create_in(keycloak).await?;
        let dir = tempfile::Builder::new().prefix("tokenvault-test-readme-").tempdir()?;
        let admin = dir.path().join("keycloak-admin");
        fs::write(&admin, keycloak.admin_password())?;
        let [module_port, management_port, admin_port] = [ports::free()?, ports::free()?, ports::free()?];
        let own = BTreeMap::from([
            ("DIR", dir.path().join("etc").display().to_string()),
            ("KEYCLOAK", keycloak.base_url().to_owned()),
            ("REALM", realm.name().to_owned()),
            ("TENANT", realm.name().to_owned()),
            ("UI_CLIENT", realm.login_client().to_owned()),
            ("REDIS", redis.url()),
            ("VAULT_HOST", "localhost".to_owned()),
            ("VAULT", format!("https://localhost:{module_port}")),
            ("ADMIN", format!("https://localhost:{admin_port}")),
            ("KEYCLOAK_ADMIN_PASSWORD_FILE", admin.display().to_string()),
        ]);
        Ok(Self {
            exports: exports(page, &blocks, &own)?,
            blocks,
            path: path_with(&[binary()?, tool("prometheus")?])?,
            prometheus: ports::free()?.to_string(),
            listen: [module_port, management_port, admin_port].map(|port| format!("127.0.0.1:{port}")),
            administers: page.own.contains(&"ADMIN"),
            realm,
            dir,
            _redis: redis,
        })
    }

    /// The page's block of this name.
    pub(super) fn block(&self, name: &str) -> Result<String> {
        self.blocks.get(name).cloned().ok_or_else(|| Failure::new(format!("there is no operator's block {name}")))
    }

    /// A block, with the variables set before it, as one script that stops at its first failure.
    pub(super) fn script(&self, commands: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &format!("{}\n{commands}", self.exports)]);
        command.current_dir(root()).env("PATH", &self.path).stdin(Stdio::null());
        // Two tests at once cannot share the sample's ports; the page names this way of changing them.
        command.env("TOKENVAULT_SERVER__LISTEN", &self.listen[0]);
        command.env("TOKENVAULT_MANAGEMENT__LISTEN", &self.listen[1]);
        if self.administers {
            command.env("TOKENVAULT_ADMIN__LISTEN", &self.listen[2]);
        }
        command
    }

    pub(super) async fn serve(&self) -> Result<Process> {
        let mut vault = Process::spawn("readme", self.script(&self.block("serve")?), self.dir.path())?;
        let url = format!("http://{}/readyz", self.listen[1]);
        tokenvault_tests::harness::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        vault.wait_ready(SOON, ready).await?;
        Ok(vault)
    }

    /// A user's access token, as FOLIO's UI has it.
    pub(super) async fn login(&self, username: &str) -> Result<String> {
        Ok(self.realm.login(self.realm.user(username)?).await?.access_token)
    }

    /// `setup.sh` has kept the secret of the vault's client where the page says.
    pub(super) fn learn_the_vaults_secret(&mut self) -> Result<()> {
        let file = self.dir.path().join("etc/secrets").join(self.realm.name()).join("client-secret");
        let secret = fs::read_to_string(file)?;
        self.realm.learn_secret(VAULT, secret.trim_end());
        Ok(())
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where health and metrics are.
    pub(super) fn management(&self) -> &str {
        &self.listen[1]
    }

    /// The port of the operator's Prometheus.
    pub(super) fn prometheus(&self) -> &str {
        &self.prometheus
    }
}

/// Runs a script to its end: what it printed, or all it said if it failed.
pub(super) fn run(mut script: Command) -> Result<String> {
    let output = script.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(Failure::new(format!("{said}\n{complaint}"))) }
}

/// What `module` of the pages prints: a body and a status.
pub(super) fn answer(line: &str) -> Result<(Value, &str)> {
    let (body, status) = line.rsplit_once(' ').ok_or_else(|| Failure::new(format!("{line:?} is no answer")))?;
    Ok((serde_json::from_str(body).unwrap_or_default(), status))
}

/// The block's `export NAME=value  # comment` lines with the reader's own values; the names must be the page's.
fn exports(page: &Page, blocks: &BTreeMap<String, String>, own: &BTreeMap<&str, String>) -> Result<String> {
    let block = blocks.get("yours").map(String::as_str).unwrap_or_default();
    let named: BTreeSet<&str> =
        block.lines().filter_map(|line| Some(line.strip_prefix("export ")?.split_once('=')?.0)).collect();
    let expected: BTreeSet<&str> = page.own.iter().copied().collect();
    if named != expected {
        return Err(Failure::new(format!("{} lets the reader set {named:?}, this test {expected:?}", page.file)));
    }
    let lines =
        own.iter().filter(|(name, _)| named.contains(*name)).map(|(name, value)| format!("export {name}='{value}'"));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

#[allow(clippy::disallowed_methods, reason = "the operator's terminal has the tests' PATH, and these programs in it")]
fn path_with(programs: &[PathBuf]) -> Result<std::ffi::OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let own = programs.iter().filter_map(|program| program.parent()).map(Path::to_owned);
    std::env::join_paths(own.chain(std::env::split_paths(&inherited))).map_err(|error| Failure::new(error.to_string()))
}
