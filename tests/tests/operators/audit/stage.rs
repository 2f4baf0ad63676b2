//! A vault that keeps an audit log.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;

pub(crate) const HASH_KEY: &str = "a key for names that nobody could guess";

pub(crate) struct Stage {
    pub(crate) realm: LabRealm,
    pub(crate) vault: Vault,
    pub(crate) redis: Redis,
    pub(crate) file: PathBuf,
    dir: TempDir,
}

impl Stage {
    /// `disk` prepares the audit file's place.
    pub(crate) async fn set(required: bool, disk: impl FnOnce(&PathBuf) -> Result<()>) -> Result<Self> {
        let (realm, redis) = (LabRealm::builder().at_ttl(8).create().await?, Redis::start().await?);
        let dir = tempfile::tempdir()?;
        let (file, key) = (dir.path().join("audit.log"), dir.path().join("hash-key"));
        fs::write(&key, HASH_KEY)?;
        disk(&file)?;
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant(&realm)?
            .set("audit.file", file.display().to_string())
            .set("audit.hash_key_file", key.display().to_string())
            .set("audit.required", required)
            .module(Module::new("mod-di"))
            .module(Module::new("mod-reader").register(&[]).actions(&["read"]))
            .start()
            .await?;
        Ok(Self { realm, vault, redis, file, dir })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.vault.client("mod-di")?.with_header("x-okapi-request-id", "r/1")
    }

    /// The whole lines there are.
    pub(crate) fn lines(&self) -> Result<Vec<Value>> {
        let text = fs::read_to_string(&self.file)?;
        assert!(text.is_empty() || text.ends_with('\n'), "a line without its end");
        Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    }

    /// `act outcome` of each line, but for renewals, which come when they come.
    pub(crate) fn acts(&self) -> Result<Vec<String>> {
        let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let lines = self.lines()?;
        let lines = lines.iter().filter(|line| line["act"] != "renew");
        Ok(lines.map(|line| format!("{} {}", text(line, "act"), text(line, "outcome"))).collect())
    }

    /// Waits for a line of an act.
    pub(crate) async fn line(&self, act: &str) -> Result<Value> {
        poll(&format!("a line of {act}"), SOON, async || self.lines().ok()?.into_iter().find(|line| line["act"] == act))
            .await
    }

    /// Waits until the vault says it can record, or cannot.
    pub(crate) async fn until_up(&mut self, up: bool) -> Result<()> {
        let expected = f64::from(u8::from(up));
        let replica = self.vault.replica();
        wait_until("the audit log to be up or down", SOON, async || {
            replica.metric("tokenvault_audit_up", "").await.is_ok_and(|value| (value - expected).abs() < 0.5)
        })
        .await
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
