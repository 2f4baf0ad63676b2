//! A vault with jobs, and what an operator may do to its keyring files.

use std::fs;
use std::path::{Path, PathBuf};

use redis::AsyncCommands as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Replica, Vault, tokenvault};
use tokenvault_tests::harness::{Failure, Result};

const MODULE: &str = "mod-di";
/// Where the store keeps the check values.
pub(crate) const CHECKS: &str = "tv:{fleet}:keys";

pub(crate) struct Stage {
    pub(crate) vault: Vault,
    pub(crate) redis: Redis,
    realm: LabRealm,
}

impl Stage {
    /// Access tokens live longer than the test: whatever is read was stored before the night began.
    pub(crate) async fn set(replicas: usize) -> Result<Self> {
        let (redis, realm) =
            (Redis::options().append_only().start().await?, LabRealm::builder().at_ttl(900).create().await?);
        let vault = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new(MODULE)).admin()?;
        Ok(Self { vault: vault.replicas(replicas).start().await?, redis, realm })
    }

    /// The same with these jobs.
    pub(crate) async fn with_jobs(jobs: &[&str]) -> Result<Self> {
        let stage = Self::set(1).await?;
        for job in jobs {
            stage.register(job, 0).await?.expect_status(201)?;
        }
        Ok(stage)
    }

    pub(crate) async fn register(&self, job: &str, replica: usize) -> Result<Answer> {
        let proof = self.realm.login("alice").await.map_err(|error| Failure::new(format!("{error:?}")))?;
        self.client(replica)?.put(job, &json!({"access_token": proof.access_token})).await
    }

    pub(crate) async fn read(&self, job: &str, replica: usize) -> Result<Answer> {
        self.client(replica)?.get_with(job, "wait=0").await
    }

    fn client(&self, replica: usize) -> Result<Client> {
        self.vault.client_of(MODULE, replica)
    }

    /// Who holds which key, as an operator is told.
    pub(crate) async fn keys(&self, replica: usize) -> Result<Value> {
        Ok(self
            .vault
            .operator("view", replica)?
            .call(Method::GET, "/admin/v1/keys", None)
            .await?
            .expect_status(200)?
            .body)
    }

    pub(crate) async fn promote(&self, id: &str, replica: usize) -> Result<Answer> {
        self.vault.operator("operate", replica)?.call(Method::POST, &format!("/admin/v1/keys/{id}/promote"), None).await
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.vault.dir().join("keyring.toml")
    }

    /// Gives a replica a keyring file of its own.
    pub(crate) fn own_keyring(&mut self, replica: usize, text: &str) -> Result<PathBuf> {
        let (name, config) =
            (format!("keyring-{replica}.toml"), self.vault.replicas()[replica].config_file().to_owned());
        let file = self.vault.dir().join(&name);
        write(&file, text)?;
        fs::write(&config, fs::read_to_string(&config)?.replace("keyring.toml", &name))?;
        Ok(file)
    }

    pub(crate) async fn stop(&mut self) -> Result<()> {
        for replica in self.vault.replicas() {
            replica.terminate(SOON).await?;
        }
        Ok(())
    }

    /// Stops the only replica and starts it with this keyring.
    pub(crate) async fn restart_with(&mut self, keyring: &str) -> Result<()> {
        self.stop().await?;
        write(&self.keyring(), keyring)?;
        self.vault.replica().respawn()
    }

    /// Waits until a replica says that its key of this id is wrong; answers with what it says.
    pub(crate) async fn until_wrong(&mut self, id: &str, replica: usize) -> Result<String> {
        let said = format!("the key {id:?} is a wrong one");
        let replica = &self.vault.replicas()[replica];
        let named = async || keyring_part(replica).await.filter(|part| part.contains(&said));
        let problem = poll("the wrong key to be named", SOON, named).await?;
        assert!(!replica.is_ready().await);
        Ok(problem)
    }

    /// Waits until a replica is ready, the same process all the time.
    pub(crate) async fn until_ready(&mut self, replica: usize) -> Result<()> {
        let process = self.vault.process_ids()[replica];
        self.vault.replicas()[replica].wait_ready().await?;
        assert_eq!(self.vault.process_ids()[replica], process);
        Ok(())
    }

    /// What `doctor` says of a key: the verdict and the finding.
    pub(crate) fn doctor(&mut self, id: &str) -> Result<(String, String)> {
        let file = self.vault.replica().config_file().display().to_string();
        let report: Value =
            serde_json::from_slice(&tokenvault(&["doctor", "--config", &file, "--output", "json"])?.stdout)?;
        let lines = report["checks"].as_array().cloned().unwrap_or_default();
        let line = lines.into_iter().find(|line| line["check"] == "keyring" && line["subject"] == id);
        let line = line.ok_or_else(|| Failure::new(format!("no line on {id} in {report}")))?;
        let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
        Ok((text("verdict"), text("finding")))
    }

    /// The check value that the store has for a key.
    pub(crate) async fn vouched(&self, id: &str) -> Result<Option<String>> {
        Ok(self.redis.connection().await?.hget(CHECKS, id).await?)
    }

    /// Takes the check values out, as if an older version had written everything else.
    pub(crate) async fn forget_checks(&self) -> Result<()> {
        Ok(self.redis.connection().await?.del(CHECKS).await?)
    }

    pub(crate) async fn until_vouched(&self, id: &str) -> Result<()> {
        wait_until("the key to be vouched for", SOON, async || {
            self.vouched(id).await.is_ok_and(|check| check.is_some())
        })
        .await
    }
}

/// What `/readyz` says of the keyring.
pub(crate) async fn keyring_part(replica: &Replica) -> Option<String> {
    replica.readiness().await.ok()?["parts"]["keyring"].as_str().map(str::to_owned)
}

/// What `tokenvault keygen` prints.
pub(crate) fn keygen(arguments: &[&str]) -> Result<String> {
    let run = tokenvault(&[&["keygen"], arguments].concat())?;
    if run.status.success() { Ok(String::from_utf8(run.stdout)?) } else { Err(Failure::new("keygen failed")) }
}

/// Writes a keyring as an operator's tools would: in one step.
pub(crate) fn write(file: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let staged = file.with_extension("new");
    fs::write(&staged, text)?;
    fs::set_permissions(&staged, fs::Permissions::from_mode(0o600))?;
    Ok(fs::rename(staged, file)?)
}
