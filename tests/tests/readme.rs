//! README.md keeps its word: an operator's blocks are run as they stand there, in the order in which they stand there, on
//! real Keycloak and real Redis. Nothing is changed but what the README says is the reader's own, and three things that
//! nobody would wait for or that two tests at once cannot share: ports, how often Prometheus looks, and how long an alert
//! is `pending`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{Process, poll};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, VAULT, unique_name};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::tools::tool;
use tokenvault_tests::harness::vault::{Replica, Vault, binary, tokenvault};
use tokenvault_tests::harness::{Failure, Result, ports};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The blocks as an operator meets them. All from `try` to `release` are typed into one terminal.
const ORDER: [&str; 8] = ["yours", "prepare", "serve", "try", "admin", "release", "watch", "firing"];

/// The shell blocks after `<!-- operator: NAME -->`, in their order.
fn blocks() -> Result<Vec<(String, String)>> {
    let readme = fs::read_to_string(root().join("README.md"))?;
    let marked = readme.split("<!-- operator: ").skip(1).map(|rest| {
        let (name, rest) = rest.split_once(" -->\n```sh\n")?;
        let (block, _) = rest.split_once("\n```\n")?;
        Some((name.to_owned(), block.to_owned()))
    });
    marked.collect::<Option<_>>().ok_or_else(|| Failure::new("a mark in README.md has no block"))
}

fn block(name: &str) -> Result<String> {
    let found = blocks()?.into_iter().find(|(marked, _)| marked == name);
    found.map(|(_, block)| block).ok_or_else(|| Failure::new(format!("README.md has no operator's block {name}")))
}

/// An operator with a checkout, a terminal, a realm that knows nothing of the vault, and a Redis.
struct Operator {
    exports: String,
    path: std::ffi::OsString,
    listen: [String; 3],
    prometheus: String,
    realm: LabRealm,
    dir: tempfile::TempDir,
    _redis: Redis,
}

impl Operator {
    async fn new() -> Result<Self> {
        let (keycloak, redis) = (keycloak().await?, Redis::options().append_only().start().await?);
        let representation = json!({
            "realm": unique_name(),
            "enabled": true,
            "sslRequired": "none",
            "attributes": { "frontendUrl": keycloak.base_url() },
            "revokeRefreshToken": true,
            "clients": [{ "clientId": LOGIN_APP, "secret": unique_name(), "directAccessGrantsEnabled": true }],
            "users": [{
                "username": "alice",
                "enabled": true,
                "email": "alice@example.org",
                "firstName": "Alice",
                "lastName": "Lab",
                "credentials": [{ "type": "password", "value": unique_name() }],
            }],
        });
        let realm = LabRealm::from_representation(keycloak, representation).await?;
        let dir = tempfile::Builder::new().prefix("tokenvault-test-readme-").tempdir()?;
        let admin = dir.path().join("keycloak-admin");
        fs::write(&admin, keycloak.admin_password())?;
        let [module_port, management_port, admin_port] = [ports::free()?, ports::free()?, ports::free()?];
        let own = BTreeMap::from([
            ("DIR", dir.path().join("etc").display().to_string()),
            ("KEYCLOAK", keycloak.base_url().to_owned()),
            ("REALM", realm.name().to_owned()),
            ("UI_CLIENT", LOGIN_APP.to_owned()),
            ("REDIS", redis.url()),
            ("VAULT_HOST", "localhost".to_owned()),
            ("VAULT", format!("https://localhost:{module_port}")),
            ("ADMIN", format!("https://localhost:{admin_port}")),
            ("KEYCLOAK_ADMIN_PASSWORD_FILE", admin.display().to_string()),
        ]);
        Ok(Self {
            exports: exports(&block("yours")?, &own)?,
            path: path_with(&[binary()?, tool("prometheus")?])?,
            prometheus: ports::free()?.to_string(),
            listen: [module_port, management_port, admin_port].map(|port| format!("127.0.0.1:{port}")),
            realm,
            dir,
            _redis: redis,
        })
    }

    /// A block, with the variables set before it, as one script that stops at its first failure.
    fn script(&self, commands: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-euo", "pipefail", "-c", &format!("{}\n{commands}", self.exports)]);
        command.current_dir(root()).env("PATH", &self.path).stdin(Stdio::null());
        // Two tests at once cannot share the sample's ports; the README names this way of changing them.
        command.env("TOKENVAULT_SERVER__LISTEN", &self.listen[0]);
        command.env("TOKENVAULT_MANAGEMENT__LISTEN", &self.listen[1]);
        command.env("TOKENVAULT_ADMIN__LISTEN", &self.listen[2]);
        command
    }

    async fn serve(&self) -> Result<Process> {
        let mut vault = Process::spawn("readme", self.script(&block("serve")?), self.dir.path())?;
        let url = format!("http://{}/readyz", self.listen[1]);
        tokenvault_tests::harness::install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().build()?;
        let ready = || async { http.get(&url).send().await.is_ok_and(|answer| answer.status().is_success()) };
        vault.wait_ready(Duration::from_secs(30), ready).await?;
        Ok(vault)
    }

    /// The README's Prometheus with impatient copies of its files.
    fn watch(&self) -> Result<Process> {
        let (shipped, own) = ("deploy/prometheus/prometheus.yaml", self.dir.path().join("prometheus.yaml"));
        let config = fs::read_to_string(root().join(shipped))?;
        fs::write(&own, config.replace("15s", "1s").replace("127.0.0.1:9080", &self.listen[1]))?;
        let rules = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml"))?;
        fs::write(self.dir.path().join("alerts.yaml"), rules.replace("for: 2m", "for: 2s"))?;
        let block = block("watch")?.replace("9090", &self.prometheus);
        let block = block.replace(shipped, &own.display().to_string()).replace("mktemp -d", "mktemp -d -p \"$DIR\"");
        Process::spawn("prometheus", self.script(&block), self.dir.path())
    }

    /// Asks as the README does until the answer is as wanted.
    async fn told(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
        let (block, wanted) = (&block("firing")?.replace("9090", &self.prometheus), &wanted);
        poll(what, Duration::from_secs(30), || async move {
            run(self.script(block)).is_ok_and(|said| wanted(&said)).then_some(())
        })
        .await
    }
}

/// Runs a script to its end: what it printed, or all it said if it failed.
fn run(mut script: Command) -> Result<String> {
    let output = script.output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(Failure::new(format!("{said}\n{complaint}"))) }
}

/// The block's `export NAME=value  # comment` lines with the reader's own values; the names must be the same.
fn exports(block: &str, own: &BTreeMap<&str, String>) -> Result<String> {
    let named: BTreeSet<&str> =
        block.lines().filter_map(|line| Some(line.strip_prefix("export ")?.split_once('=')?.0)).collect();
    let expected: BTreeSet<&str> = own.keys().copied().collect();
    if named != expected {
        return Err(Failure::new(format!("README.md lets the reader set {named:?}, this test {expected:?}")));
    }
    let lines: Vec<String> = own.iter().map(|(name, value)| format!("export {name}='{value}'")).collect();
    Ok(lines.join("\n"))
}

#[allow(clippy::disallowed_methods, reason = "the operator's terminal has the tests' PATH, and these programs in it")]
fn path_with(programs: &[PathBuf]) -> Result<std::ffi::OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let own = programs.iter().filter_map(|program| program.parent()).map(Path::to_owned);
    std::env::join_paths(own.chain(std::env::split_paths(&inherited))).map_err(|error| Failure::new(error.to_string()))
}

/// What `module` of the README prints: a body and a status.
fn answer(line: &str) -> Result<(Value, &str)> {
    let (body, status) = line.rsplit_once(' ').ok_or_else(|| Failure::new(format!("{line:?} is no answer")))?;
    Ok((serde_json::from_str(body).unwrap_or_default(), status))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_follows_the_readme_has_a_vault_that_serves_a_job_and_sees_an_alert_fire_and_clear()
-> Result<()> {
    let named: Vec<String> = blocks()?.into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, ORDER);
    let mut operator = Operator::new().await?;
    let prepared = run(operator.script(&block("prepare")?))?;
    assert!(prepared.contains("ok       keyring") && !prepared.contains("problem"), "{prepared}");
    assert!(prepared.contains(" checks: 0 hazards, "), "{prepared}");
    let vault = operator.serve().await?;

    let proof = operator.realm.login("alice").await?.access_token;
    let mut terminal = operator.script(&[block("try")?, block("admin")?, block("release")?].join("\n"));
    terminal.env("ACCESS_TOKEN", &proof);
    let said = run(terminal)?;

    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let [_, registered, read, looked @ .., released] = &lines[..] else {
        return Err(Failure::new("the README's commands print a line for each of healthcheck, registration and read"));
    };
    let ((_, registered), (token, read), (_, released)) = (answer(registered)?, answer(read)?, answer(released)?);
    assert_eq!((registered, read, released), ("201", "200", "204"));
    serves_a_pair_of_its_own(&mut operator, &proof, token["access_token"].as_str().unwrap_or_default()).await?;
    let line = |start: &str, end: &str| looked.iter().any(|line| line.starts_with(start) && line.ends_with(end));
    assert!(line("state ", " active") && line("renewal ", " running") && line("1 job", ""), "{looked:#?}");
    assert!(!looked.concat().contains(token["access_token"].as_str().unwrap_or("?")), "no token is shown to operators");
    an_alert_fires_and_clears(&operator, vault).await
}

/// The token that was read is the vault's and lives; it does so even after the release.
async fn serves_a_pair_of_its_own(operator: &mut Operator, proof: &str, token: &str) -> Result<()> {
    let secret =
        fs::read_to_string(operator.dir.path().join("etc/secrets").join(operator.realm.name()).join("client-secret"))?;
    operator.realm.learn_secret(VAULT, secret.trim_end());
    let described = operator.realm.introspect(VAULT, token, "access_token").await?;
    assert!(token != proof, "the vault hands out a pair of its own");
    assert_eq!((&described["active"], &described["azp"]), (&json!(true), &json!(VAULT)));
    Ok(())
}

async fn an_alert_fires_and_clears(operator: &Operator, mut vault: Process) -> Result<()> {
    let _prometheus = operator.watch()?;
    operator.told("no alert while the vault runs", str::is_empty).await?;
    assert!(vault.terminate(Duration::from_secs(25)).await?.success());
    operator.told("an alert that fires", |said| said.contains("firing TokenvaultDown\n")).await?;
    let mut vault = operator.serve().await?;
    operator.told("no alert any more", |said| !said.contains("TokenvaultDown")).await?;
    assert!(vault.terminate(Duration::from_secs(25)).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn preparing_twice_keeps_the_keyring() -> Result<()> {
    let operator = Operator::new().await?;
    run(operator.script(&block("prepare")?))?;
    let keyring = operator.dir.path().join("etc/secrets/keyring.toml");
    let first = fs::read_to_string(&keyring)?;

    let second = run(operator.script(&block("prepare")?));

    let refusal = second.expect_err("the shell refuses to write over the keyring").to_string();
    assert!(refusal.contains("keyring.toml"), "{refusal}");
    assert!(fs::read_to_string(&keyring)? == first, "the keyring has changed");
    Ok(())
}

/// The names in the first column of docs/metrics.md.
fn documented_metrics() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(root().join("docs/metrics.md"))?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    Ok(rows.filter_map(|row| Some(row.split_once('`')?.0.to_owned())).collect())
}

/// The names that series have, as a query would name them; a histogram by its family.
async fn served_metrics(replica: &Replica) -> Result<BTreeSet<String>> {
    let text = replica.metrics().await?;
    let families = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let named = families.map(|(name, kind)| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    });
    Ok(named.collect())
}

/// Damages a job's sealed access token, as somebody with access to Redis could.
async fn forge(redis: &Redis, job: &str) -> Result<()> {
    let mut connection = redis.connection().await?;
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("tv:*:job:*:{job}")).query_async(&mut connection).await?;
    let key = keys.first().ok_or_else(|| Failure::new(format!("Redis has no job {job}")))?;
    let _: () = redis::cmd("HSET").arg(key).arg("at").arg("not what was sealed").query_async(&mut connection).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_that_are_served_are_the_metrics_that_are_documented() -> Result<()> {
    let (realm, redis) = (LabRealm::builder().at_ttl(4).create().await?, Redis::start().await?);
    let builder = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di"));
    let mut vault = builder.start().await?;
    let client = vault.client("mod-di")?;
    let proof = realm.login("alice").await?;
    for job in ["renewed", "released", "forged"] {
        client.register(job, &proof).await?.expect_status(201)?;
    }
    client.get("renewed").await?.expect_status(200)?;
    client.get("there-is-none").await?.expect_status(404)?;
    client.delete("released").await?.expect_status(204)?;
    forge(&redis, "forged").await?;
    client.get_with("forged", "wait=0").await?;

    let documented = documented_metrics()?;
    let replica = vault.replica();
    // A family with labels appears with its first series, so renewals are waited for.
    let wait = poll("a first series of every metric", Duration::from_secs(20), || async {
        served_metrics(replica).await.ok().filter(|served| *served == documented)
    });

    if wait.await.is_err() {
        assert_eq!(served_metrics(replica).await?, documented);
    }
    Ok(())
}

#[test]
fn every_command_is_written_about() -> Result<()> {
    let help = String::from_utf8(tokenvault(&["--help"])?.stdout)?;
    let (_, list) = help.split_once("Commands:\n").ok_or_else(|| Failure::new("--help lists no commands"))?;
    let commands: Vec<&str> =
        list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    let mut written = fs::read_to_string(root().join("README.md"))?;
    for entry in fs::read_dir(root().join("docs"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "md") {
            written.push_str(&fs::read_to_string(file)?);
        }
    }

    let unmentioned: Vec<&&str> = commands
        .iter()
        .filter(|command| **command != "help")
        .filter(|command| !["tokenvault", "--"].iter().any(|before| written.contains(&format!("{before} {command}"))))
        .collect();

    assert!(commands.len() > 5, "{help}");
    assert!(unmentioned.is_empty(), "neither README.md nor docs/ mentions {unmentioned:?}");
    Ok(())
}
