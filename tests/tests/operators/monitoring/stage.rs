//! A vault with something of everything to tell, and a real Prometheus that watches it.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{Process, SOON, poll};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::tools::tool;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result, ports, root};

pub(crate) struct Monitored {
    pub(crate) vault: Vault,
    prometheus: String,
    http: reqwest::Client,
    _process: Process,
    _redis: Redis,
    _realm: LabRealm,
    _dir: TempDir,
}

impl Monitored {
    pub(crate) async fn start() -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("tokenvault-test-monitoring-").tempdir()?;
        let (realm, redis) =
            (LabRealm::builder().at_ttl(8).create().await?, Redis::options().append_only().start().await?);
        let builder = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di")).revocations()?;
        let builder = builder.set("audit.file", dir.path().join("audit.log").display().to_string());
        let key = dir.path().join("audit-key");
        fs::write(&key, "0123456789abcdef0123456789abcdef")?;
        let mut vault = builder.set("audit.hash_key_file", key.display().to_string()).start().await?;
        let client = vault.client("mod-di")?;
        let proof = realm.login("alice").await?;
        for job in ["renewed", "released"] {
            client.register(job, &proof).await?.expect_status(201)?;
        }
        client.get("renewed").await?.expect_status(200)?;
        client.get("there-is-none").await?.expect_status(404)?;
        client.delete("released").await?.expect_status(204)?;
        let port = ports::free()?;
        let process = prometheus(&dir, port, &vault.replica().management_url())?;
        let http = reqwest::Client::builder().no_proxy().build()?;
        let prometheus = format!("http://127.0.0.1:{port}");
        Ok(Self { vault, prometheus, http, _process: process, _redis: redis, _realm: realm, _dir: dir })
    }

    /// What the vault serves, once there have been renewals.
    pub(crate) async fn exposition(&mut self) -> Result<String> {
        let replica = self.vault.replica();
        let wait = poll("renewals in the metrics", SOON, || async {
            let text = replica.metrics().await.ok()?;
            let told = ["renewal_duration_seconds_bucket{", "jobs{", "certificate_not_after_timestamp_seconds{"];
            told.iter().all(|name| text.contains(&format!("tokenvault_{name}"))).then_some(text)
        });
        wait.await
    }

    async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        let mut url =
            reqwest::Url::parse(&format!("{}{path}", self.prometheus)).map_err(|e| Failure::new(e.to_string()))?;
        url.query_pairs_mut().extend_pairs(query);
        let answer: Value = self.http.get(url).send().await?.json().await?;
        if answer["status"] == "success" { Ok(answer["data"].clone()) } else { Err(Failure::new(answer.to_string())) }
    }

    /// What Prometheus answers to a query of the dashboard's.
    pub(crate) async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let query = query.replace("$job", "tokenvault").replace("$__rate_interval", "30s");
        Ok(self.ask("/api/v1/query", &[("query", &query)]).await?["result"].as_array().cloned().unwrap_or_default())
    }

    /// The alerts that are firing.
    pub(crate) async fn firing(&self) -> Result<BTreeSet<String>> {
        let told = self.ask("/api/v1/alerts", &[]).await?;
        let alerts = told["alerts"].as_array().cloned().unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        Ok(firing.filter_map(|alert| alert["labels"]["alertname"].as_str().map(str::to_owned)).collect())
    }

    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&BTreeSet<String>) -> bool) -> Result<()> {
        let holds = &holds;
        poll(what, SOON, || async move { self.firing().await.ok().filter(|firing| holds(firing)).map(drop) }).await
    }
}

/// One that looks each second, with the rules as they are shipped, but for their patience.
fn prometheus(dir: &TempDir, port: u16, vault: &str) -> Result<Process> {
    let rules = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml"))?;
    let impatient: Vec<_> = rules.lines().filter(|line| !line.trim_start().starts_with("for: ")).collect();
    fs::write(dir.path().join("alerts.yaml"), impatient.join("\n"))?;
    let target = vault.trim_start_matches("http://");
    let config = format!(
        "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [alerts.yaml]\n\
         scrape_configs: [{{ job_name: tokenvault, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
    );
    fs::write(dir.path().join("prometheus.yaml"), config)?;
    let mut command = Command::new(tool("prometheus")?);
    command.arg(format!("--config.file={}", dir.path().join("prometheus.yaml").display()));
    command.arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()));
    command.arg(format!("--web.listen-address=127.0.0.1:{port}")).arg("--log.level=warn");
    Process::spawn("prometheus", command, dir.path())
}
