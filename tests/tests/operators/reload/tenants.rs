//! Tenants that come and go while the vault serves others, in the right order and in the wrong one.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::{self, Module};
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, tokenvault};
use tokenvault_tests::harness::{Failure, Result};

use crate::reload::PROMISED;

/// A module of all tenants, and one of the first by its name.
const EVERYWHERE: &str = "mod-everywhere";
const AT_HOME: &str = "mod-at-home";
/// What is left alone for longer than this is not being renewed.
const AT_TTL: u64 = 20;

struct Stage {
    vault: Vault,
    home: LabRealm,
    guest: LabRealm,
    files: TempDir,
    _redis: Redis,
}

impl Stage {
    /// A vault with one tenant in its configuration, and an empty file for more.
    async fn set() -> Result<Self> {
        let redis = Redis::options().append_only().start().await?;
        let home = LabRealm::builder().at_ttl(AT_TTL).create().await?;
        let guest = LabRealm::builder().at_ttl(AT_TTL).create().await?;
        let files = tempfile::tempdir()?;
        fs::write(files.path().join("tenants.toml"), "")?;
        fs::write(files.path().join(format!("{}.secret", guest.name())), guest.secret(VAULT))?;
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant(&home)?
            .set("keycloak.tenants_file", files.path().join("tenants.toml").display().to_string())
            .module(Module::new(EVERYWHERE).tenants(&["*"]))
            .module(Module::new(AT_HOME))
            .admin()?
            .start()
            .await?;
        Ok(Self { vault, home, guest, files, _redis: redis })
    }

    fn table(&self) -> String {
        format!(
            "[tenants.{0}]\nissuer = \"{1}\"\nclient_id = \"{VAULT}\"\nclient_secret_file = \"{{tenant}}.secret\"\n\
             user_id_claim = \"user_id\"\naccepted_clients = [\"{LOGIN_APP}\"]\n",
            self.guest.name(),
            self.guest.issuer()
        )
    }

    fn write_tenants(&self, text: &str) -> Result<()> {
        let staged = self.files.path().join("staged");
        fs::write(&staged, text)?;
        Ok(fs::rename(staged, self.files.path().join("tenants.toml"))?)
    }

    fn policy_file(&self) -> PathBuf {
        self.vault.dir().join("policy.toml")
    }

    /// The module that is at home is at home in these tenants.
    fn write_policy(&self, tenants: &[&str]) -> Result<()> {
        let modules = [Module::new(EVERYWHERE).tenants(&["*"]), Module::new(AT_HOME).tenants(tenants)];
        policy::write(&self.policy_file(), &modules, &[])
    }

    fn module(&self, name: &str, realm: &LabRealm) -> Result<Client> {
        self.vault.client(name)?.for_tenant(realm.name())
    }

    async fn register(&self, realm: &LabRealm) -> Result<String> {
        let (job, proof) = (uuid::Uuid::new_v4().to_string(), realm.login("alice").await?);
        self.module(EVERYWHERE, realm)?.register(&job, &proof).await?.expect_status(201)?;
        Ok(job)
    }

    async fn told(&mut self, words: &str) -> Result<()> {
        let replica = self.vault.replica();
        let log = replica.process().log_path().to_owned();
        wait_until(words, PROMISED, || {
            let log = fs::read_to_string(&log).unwrap_or_default();
            async move { log.lines().any(|line| words.split('|').all(|word| line.contains(word))) }
        })
        .await
    }

    async fn until_status(&self, realm: &LabRealm, job: &str, status: u16) -> Result<()> {
        let client = self.module(EVERYWHERE, realm)?;
        let what = format!("{status} of a job in {}", realm.name());
        wait_until(&what, PROMISED, || async { client.get(job).await.is_ok_and(|a| a.status.as_u16() == status) }).await
    }

    /// Whether so many tenants are served.
    async fn serves(&mut self, tenants: f64) -> Result<bool> {
        Ok((self.count("tenants", "").await? - tenants).abs() < 0.5)
    }

    async fn count(&mut self, metric: &str, labels: &str) -> Result<f64> {
        self.vault.replica().metric(&format!("tokenvault_{metric}"), labels).await
    }
}

#[tokio::test]
async fn a_tenant_is_added_taken_out_and_brought_back_while_the_vault_runs() -> Result<()> {
    let mut stage = Stage::set().await?;
    let at_home = stage.register(&stage.home).await?;
    let answer = stage.vault.client(EVERYWHERE)?.get(&at_home).await?.expect_status(400)?;
    assert_eq!(answer.code(), "tenant_missing", "a pattern counts as several tenants");
    let answer = stage.module(EVERYWHERE, &stage.guest)?.get("none").await?.expect_status(403)?;
    assert_eq!(answer.code(), "tenant_denied", "under a pattern as well");

    stage.write_tenants(&stage.table())?;
    stage.until_status(&stage.guest, "none", 404).await?;
    let name = stage.guest.name().to_owned();
    stage.told(&format!("the tenants were read again|{name}|INFO")).await?;
    assert!(stage.serves(2.0).await?);
    let (job, other) = (stage.register(&stage.guest).await?, stage.register(&stage.guest).await?);
    stage.module(EVERYWHERE, &stage.guest)?.get(&job).await?.expect_status(200)?;
    assert!(
        stage.module(AT_HOME, &stage.guest)?.get(&job).await?.code() == "tenant_denied",
        "a module with names keeps to them"
    );

    stage.write_tenants("")?;
    stage.until_status(&stage.guest, &job, 403).await?;
    stage.module(EVERYWHERE, &stage.home)?.get(&at_home).await?.expect_status(200)?;
    let operator = stage.vault.operator("operate", 0)?;
    let path = |job: &str| format!("/admin/v1/jobs/{name}/{job}");
    let listed =
        operator.call(Method::GET, &format!("/admin/v1/jobs?tenant={name}"), None).await?.expect_status(200)?;
    assert_eq!(listed.body["jobs"].as_array().map(Vec::len), Some(2), "operators see them: {listed:?}");
    let generation = async || {
        let shown = operator.call(Method::GET, &path(&job), None).await?.expect_status(200)?;
        Ok::<_, Failure>((shown.body["generation"].as_u64(), shown.body["state"].as_str().map(str::to_owned)))
    };
    // A renewal that was in hand still ends as it would have.
    wait_until("the end of what was in hand", SOON, || async {
        let shown = operator.call(Method::GET, &path(&job), None).await;
        shown.is_ok_and(|shown| shown.body["leased_until"].is_null())
    })
    .await?;
    let before = generation().await?;
    let renewed = operator.call(Method::POST, &format!("{}/renew", path(&job)), None).await?;
    assert_eq!(renewed.code(), "unsupported", "{renewed:?}");
    operator.call(Method::DELETE, &path(&other), None).await?.expect_status(200)?;
    reseal(&stage, &operator).await?;
    tokio::time::sleep(Duration::from_secs(AT_TTL * 3 / 4)).await;
    stage.told("there are jobs of a tenant that is not configured|WARN").await?;
    assert_eq!(generation().await?, before, "it is kept as it is");

    stage.write_tenants(&stage.table())?;
    stage.until_status(&stage.guest, &other, 410).await?;
    let after = poll("a renewal", Duration::from_secs(AT_TTL), || async {
        generation().await.ok().filter(|(now, _)| *now > before.0)
    });
    assert_eq!(after.await?.1.as_deref(), Some("active"));
    stage.until_status(&stage.guest, &job, 200).await?;
    let warnings = stage.vault.replica().process().log();
    assert_eq!(warnings.matches("there are jobs of a tenant that is not configured").count(), 1);
    Ok(())
}

/// Everything is sealed with another key, whether or not its tenant is there.
async fn reseal(stage: &Stage, operator: &Client) -> Result<()> {
    let keyring = stage.vault.dir().join("keyring.toml");
    let entry = String::from_utf8(tokenvault(&["keygen", "--id", "k2"])?.stdout)?;
    fs::write(&keyring, format!("{}\n{entry}", fs::read_to_string(&keyring)?))?;
    wait_until("the promotion", SOON, || async {
        let promoted = operator.call(Method::POST, "/admin/v1/keys/k2/promote", None).await;
        promoted.is_ok_and(|answer| answer.status.is_success())
    })
    .await?;
    operator.call(Method::POST, "/admin/v1/reseal", None).await?.expect_status(202)?;
    wait_until("the re-sealing", SOON, || async {
        let asked = operator.call(Method::GET, "/admin/v1/reseal", None).await;
        asked.is_ok_and(|answer| answer.body["state"] == "finished" && answer.body["failed"] == json!(0))
    })
    .await?;
    let listed = format!("/admin/v1/jobs?tenant={}&state=active", stage.guest.name());
    let listed = operator.call(Method::GET, &listed, None).await?;
    let job = listed.body["jobs"][0]["job_id"].as_str().unwrap_or_default().to_owned();
    let shown = operator.call(Method::GET, &format!("/admin/v1/jobs/{}/{job}", stage.guest.name()), None).await?;
    assert_eq!(shown.body["sealed_with"], json!(["k2"]), "{shown:?}");
    Ok(())
}

#[tokio::test]
async fn a_change_in_the_wrong_order_is_refused_with_the_file_to_change_first() -> Result<()> {
    let mut stage = Stage::set().await?;
    let (home, guest) = (stage.home.name().to_owned(), stage.guest.name().to_owned());

    // To add one, the policy must not be first.
    stage.write_policy(&[&home, &guest])?;
    stage.told(&format!("a change is refused|\"file\":\"policy\"|tenants.toml|add [tenants.{guest}]|ERROR")).await?;
    assert!(stage.count("reload_failures_total", "policy").await? > 0.0);
    stage.module(AT_HOME, &stage.home)?.get("none").await?.expect_status(404)?;
    stage.write_tenants(&stage.table())?;
    let at_home = stage.module(AT_HOME, &stage.guest)?;
    let served = || async { at_home.get("none").await.is_ok_and(|answer| answer.status.as_u16() == 404) };
    wait_until("both to be taken up", PROMISED, served).await?;

    // What is wrong with a table, or missing beside it.
    let job = stage.register(&stage.guest).await?;
    for (wrong, said) in [
        (stage.table().replace("issuer", "isuer"), "unknown key; did you mean `issuer`?"),
        (stage.table().replace(".secret", ".none"), "cannot be read"),
        (stage.table().replace("{tenant}", "{tenat}"), "client_secret_file: has braces that are not `{tenant}`"),
        ("[tenants".to_owned(), "is not TOML"),
        (format!("{}[tenants.{home}]\n", stage.table()), "as well; take one of the two out"),
    ] {
        stage.write_tenants(&wrong)?;
        stage.told(&format!("a change is refused|\"file\":\"tenants\"|{said}|ERROR")).await?;
        stage.module(EVERYWHERE, &stage.guest)?.get(&job).await?.expect_status(200)?;
    }
    assert!(stage.serves(2.0).await?);

    // To remove one, the tenants must not be first.
    stage.write_tenants("")?;
    let said = format!(
        "leaves out the tenant {guest}|\"file\":\"tenants\"|\"change_first\":\"{}\"",
        stage.policy_file().display()
    );
    stage.told(&said).await?;
    stage.module(EVERYWHERE, &stage.guest)?.get(&job).await?.expect_status(200)?;
    stage.write_policy(&[&home])?;
    stage.until_status(&stage.guest, &job, 403).await?;
    stage.told("nothing is refused any more").await?;
    assert!(stage.serves(1.0).await?);

    // A default tenant is a name like any other.
    let default = fs::read_to_string(stage.policy_file())?
        .replace("tenants = [\"*\"]", &format!("tenants = [\"*\"]\ndefault_tenant = \"{guest}\""));
    fs::write(stage.policy_file(), &default)?;
    stage.write_tenants(&stage.table())?;
    stage.until_status(&stage.guest, &job, 200).await?;
    let client = stage.vault.client(EVERYWHERE)?;
    wait_until("the default tenant", PROMISED, || async {
        client.get(&job).await.is_ok_and(|a| a.status.as_u16() == 200)
    })
    .await
}

#[tokio::test]
async fn a_policy_and_tenants_that_do_not_fit_do_not_start() -> Result<()> {
    let mut stage = Stage::set().await?;
    let (home, guest) = (stage.home.name().to_owned(), stage.guest.name().to_owned());
    stage.vault.replica().terminate(SOON).await?;
    stage.write_policy(&[&home, &guest])?;
    let config = stage.vault.replica().config_file().display().to_string();
    for command in ["check-config", "serve"] {
        let said = tokenvault(&[command, "--config", &config])?;
        let words = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert_eq!(said.status.code(), Some(1), "{command}: {words}");
        assert!(
            words.contains(&format!("names the tenant {guest} (for {AT_HOME}), which is not configured")),
            "{words}"
        );
    }
    stage.write_tenants(&stage.table())?;
    let checked = tokenvault(&["check-config", "--config", &config])?;
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    stage.vault.replica().restart().await
}
