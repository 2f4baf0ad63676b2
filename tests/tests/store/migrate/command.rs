//! `tokenvault migrate` as an operator runs it: what it says, and how it ends.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tokenvault_redis::RedisStore;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::wait_until;
use tokenvault_tests::harness::redis::unhurried;
use tokenvault_tests::harness::terminal::Terminal;
use tokenvault_tests::harness::vault::{binary, tokenvault};
use tokenvault_tests::reseal::Keys;

use super::{JOBS, SOON, Stage, fill};

/// A configuration with what the command looks at, and with what every configuration must have.
fn configuration(stage: &Stage) -> Result<PathBuf> {
    let (dir, redis) = (stage.dir.path(), stage.redis.url());
    fs::write(dir.join("secret"), "not sent to anybody")?;
    let text = format!(
        r#"
[server]
cert_file = "server.pem"
key_file = "server.key"
client_ca_file = "ca.pem"
[redis]
url = "{redis}"
[keyring]
file = "keyring.toml"
[policy]
file = "policy.toml"
[keycloak]
issuer = "https://keycloak.invalid/realms/{{tenant}}"
client_id = "tokenvault"
client_secret_file = "secret"
accepted_clients = ["ui"]
[tenants.diku]
"#
    );
    let file = dir.join("tokenvault.toml");
    fs::write(&file, text)?;
    Ok(file)
}

/// What was typed, said and answered.
struct Told(String);

impl Told {
    fn run(&mut self, config: &Path, arguments: &[&str]) -> Result<()> {
        let config = config.display().to_string();
        let said = tokenvault(&[&["migrate", "--config", &config], arguments].concat())?;
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let (typed, out, err) = (["migrate"].iter().chain(arguments), text(&said.stdout), text(&said.stderr));
        let typed: Vec<&str> = typed.copied().collect();
        let (out, status) = (ends_of_passes(&out), said.status.code().unwrap_or(-1));
        writeln!(self.0, "$ tokenvault {}\n{out}{err}(status {status})\n", typed.join(" "))?;
        Ok(())
    }
}

/// Without the lines on how far a pass had come before its end: Redis' hash tables decide how much comes at a time.
fn ends_of_passes(out: &str) -> String {
    let is_on_the_way = |line: &&str| line.contains(" records seen, ");
    let mut lines: Vec<&str> = out.lines().collect();
    // Of two in a row the later one stays.
    lines.reverse();
    lines.dedup_by(|earlier, later| is_on_the_way(earlier) && is_on_the_way(later));
    lines.reverse();
    if lines.is_empty() { String::new() } else { lines.join("\n") + "\n" }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sealed_with_a_wrong_key() -> Result<()> {
    let stage = Stage::set().await?;
    let config = configuration(&stage)?.display().to_string();
    let old = stage.replica("old-1", 1).await?;
    fill(&old).await?;
    old.stop().await;

    Keys::fresh(&["k1"]).write(&stage.file, "k1", &["k1"])?;

    for arguments in [&["migrate", "--config", &config][..], &["migrate", "--config", &config, "--dry-run"]] {
        let said = tokenvault(arguments)?;
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(1) && told.contains("the key \"k1\" is a wrong one"), "{told}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_tells_what_there_is_to_do_and_ends_with_one_while_it_cannot_be_done() -> Result<()> {
    let stage = Stage::set().await?;
    let config = configuration(&stage)?;
    let old = stage.replica("old-1", 1).await?;
    fill(&old).await?;
    wait_until("the replica is heard of", SOON, async || {
        old.services.fleet.replicas().await.is_ok_and(|all| all.len() == 1)
    })
    .await?;
    let mut told = Told(String::new());

    told.run(&config, &["--dry-run"])?;
    assert_eq!(stage.vouched().await?, 0, "a dry run changes nothing");
    let other = RedisStore::connect(&unhurried(stage.redis.url()))?;
    assert!(other.lock_migration("another", SOON).await?);
    told.run(&config, &[])?;
    assert_eq!(stage.vouched().await?, 0, "nothing is changed under another's lock");
    other.unlock_migration("another").await?;
    told.run(&config, &[])?;
    old.stop().await;
    told.run(&config, &["--dry-run"])?;
    told.run(&config, &[])?;
    told.run(&config, &[])?;

    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("command", told.0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_terminal_the_progress_of_a_migration_is_drawn() -> Result<()> {
    let stage = Stage::set().await?;
    let config = configuration(&stage)?;
    let old = stage.replica("old-1", 1).await?;
    fill(&old).await?;
    old.stop().await;
    let mut command = Command::new(binary()?);
    command.arg("migrate").arg("--config").arg(&config);

    let (status, shown) = Terminal::start(command)?.end(Duration::from_mins(1)).await?;

    assert!(status.success(), "{shown}");
    assert!(shown.contains('█') && shown.contains(&format!("/{JOBS} records, ")), "{shown}");
    assert!(shown.contains("schema 2: done") && !shown.contains("records seen"), "{shown}");
    Ok(())
}
