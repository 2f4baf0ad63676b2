//! Both APIs keep what their own descriptions say, whatever schemathesis thinks of: no server error, no answer that is not
//! described, nothing taken that the description forbids or refused that it allows.
//!
//! The seed is fixed and the run short; `tests/schemathesis.sh` runs it for as long as you like.
#![allow(clippy::disallowed_methods, reason = "tests run real processes and read the environment")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokenvault_tests::harness::certs::{Certificate, TestCa};
use tokenvault_tests::harness::policy::{self, Module};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result};
use tokio::process::Command;

/// As in tests/schemathesis/install.sh.
const VERSION: &str = "4.32.5";
const MODULE: &str = "mod-di";

fn program() -> Result<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let cache = std::env::var("TOKENVAULT_CACHE").unwrap_or_else(|_| format!("{home}/.cache/tokenvault"));
    let program = Path::new(&cache).join(format!("schemathesis-{VERSION}/bin/schemathesis"));
    if program.is_file() {
        return Ok(program);
    }
    Err(Failure::new(format!("{} is missing: run tests/schemathesis/install.sh", program.display())))
}

struct Stage {
    vault: Vault,
    realm: LabRealm,
    _redis: Redis,
}

impl Stage {
    async fn set() -> Result<Self> {
        let (redis, realm) = (Redis::start().await?, LabRealm::builder().at_ttl(1800).create().await?);
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .set(&format!("tenants.{}.max_proof_age", realm.name()), 3600)
            .set("server.max_wait", 1)
            .set("server.default_wait", 0)
            .module(Module::new(MODULE).register(&["exchange", "impersonate"]))
            .admin()?
            .start()
            .await?;
        Ok(Self { vault, realm, _redis: redis })
    }

    /// Runs schemathesis over the description that is served there.
    async fn run(&self, url: &str, ca: &TestCa, certificate: &Certificate, more: &[&str]) -> Result<()> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis");
        let proof = self.realm.login("alice").await?;
        let mut command = Command::new(program()?);
        command
            .arg("--config-file")
            .arg(dir.join("schemathesis.toml"))
            .args(["run", &format!("{url}/openapi.json"), "--checks=all", "--no-color"])
            .args(["--generation-database=none", "--request-timeout=20", "--warnings=off", "--continue-on-failure"])
            .args(more)
            .arg("--tls-verify")
            .arg(ca.cert_file())
            .arg("--request-cert")
            .arg(&certificate.cert)
            .arg("--request-cert-key")
            .arg(&certificate.key)
            .env("SCHEMATHESIS_HOOKS", "hooks")
            .env("PYTHONPATH", &dir)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("TOKENVAULT_SCHEMATHESIS_TOKEN", &proof.access_token)
            .env("TOKENVAULT_SCHEMATHESIS_TENANT", self.realm.name())
            .current_dir(self.vault.dir())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match std::env::var("TOKENVAULT_SCHEMATHESIS_SECONDS") {
            Ok(seconds) => command.arg(format!("--max-time={seconds}")),
            Err(_) => command.args(["--seed=1", "--max-examples=8"]),
        };
        let output = tokio::time::timeout(Duration::from_hours(3), command.output()).await??;
        let said = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            return Ok(());
        }
        Err(Failure::new(format!("{said}\n{}", String::from_utf8_lossy(&output.stderr))))
    }
}

#[tokio::test]
async fn the_modules_api_is_as_it_is_described() -> Result<()> {
    let mut stage = Stage::set().await?;
    let certificate = stage.vault.ca().client_uri(&policy::uri(MODULE))?;
    let url = stage.vault.replica().url();
    stage.run(&url, stage.vault.ca(), &certificate, &[]).await
}

#[tokio::test]
async fn the_operators_api_is_as_it_is_described() -> Result<()> {
    let mut stage = Stage::set().await?;
    let certificate = stage.vault.operator_certificate("operate")?;
    let url = stage.vault.replica().admin_url();
    // A stream of events does not end, so it cannot be tried like this.
    stage.run(&url, stage.vault.ca(), &certificate, &["--exclude-path", "/admin/v1/events"]).await
}
