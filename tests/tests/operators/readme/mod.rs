//! README.md, docs/install.md and docs/folio.md keep their word: an operator's blocks are run as they stand there, on real Keycloak, in a realm as
//! FOLIO's tenant manager makes it, and on real Redis. Nothing is changed but what the page says is the reader's own, and
//! three things that nobody would wait for or that two tests at once cannot share: ports, how often Prometheus looks, and
//! how long an alert is `pending`.

mod blocks;
mod commands;
mod example;
mod folio;
mod metrics;
mod operator;
mod reference;

use std::fs;

use serde_json::{Value, json};
use tokenvault_tests::harness::process::{Process, SOON, poll};
use tokenvault_tests::harness::realm::VAULT;
use tokenvault_tests::harness::tree::{Tree, edit};
use tokenvault_tests::harness::{Failure, Result, root};

use operator::{Operator, Page, answer, run};

/// The blocks of docs/install.md as an operator meets them. All from `try` to `release` are typed into one terminal.
const INSTALL: Page = Page {
    file: "docs/install.md",
    order: &["yours", "prepare", "serve", "try", "admin", "release", "watch", "firing"],
    own: &[
        "DIR",
        "KEYCLOAK",
        "REALM",
        "UI_CLIENT",
        "REDIS",
        "VAULT_HOST",
        "VAULT",
        "ADMIN",
        "KEYCLOAK_ADMIN_PASSWORD_FILE",
    ],
};

/// The page's Prometheus with impatient copies of its files.
fn watch(operator: &Operator) -> Result<Process> {
    let dir = operator.dir();
    let (shipped, own) = ("deploy/prometheus/prometheus.yaml", dir.join("prometheus.yaml"));
    let config = fs::read_to_string(root().join(shipped))?;
    fs::write(&own, config.replace("15s", "1s").replace("127.0.0.1:9080", operator.management()))?;
    let rules = fs::read_to_string(root().join("deploy/prometheus/alerts.yaml"))?;
    fs::write(dir.join("alerts.yaml"), rules.replace("for: 2m", "for: 2s"))?;
    let block = operator.block("watch")?.replace("9090", operator.prometheus());
    let block = block.replace(shipped, &own.display().to_string()).replace("mktemp -d", "mktemp -d -p \"$DIR\"");
    Process::spawn("prometheus", operator.script(&block), dir)
}

/// Asks as the page does until the answer is as wanted.
async fn told(operator: &Operator, what: &str, wanted: impl Fn(&str) -> bool) -> Result<()> {
    let (block, wanted) = (&operator.block("firing")?.replace("9090", operator.prometheus()), &wanted);
    poll(what, SOON, || async move { run(operator.script(block)).is_ok_and(|said| wanted(&said)).then_some(()) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_who_follows_the_install_page_has_a_vault_that_serves_a_job_and_sees_an_alert_fire_and_clear()
-> Result<()> {
    let mut operator = Operator::new(&INSTALL).await?;
    let prepared = run(operator.script(&operator.block("prepare")?))?;
    assert!(prepared.contains("ok       keyring") && !prepared.contains("problem"), "{prepared}");
    assert!(prepared.contains(" checks: 0 hazards, "), "{prepared}");
    let vault = operator.serve().await?;

    let proof = operator.login("diku_admin").await?;
    let commands = [operator.block("try")?, operator.block("admin")?, operator.block("release")?].join("\n");
    let mut terminal = operator.script(&commands);
    terminal.env("ACCESS_TOKEN", &proof);
    let said = run(terminal)?;

    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).collect();
    let [_, registered, read, looked @ .., released] = &lines[..] else {
        return Err(Failure::new("the page's commands print a line for each of healthcheck, registration and read"));
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
    operator.learn_the_vaults_secret()?;
    let described = operator.realm.introspect(VAULT, token, "access_token").await?;
    assert!(token != proof, "the vault hands out a pair of its own");
    assert_eq!((&described["active"], &described["azp"]), (&json!(true), &json!(VAULT)));
    let user: &Value = &described["user_id"];
    assert_eq!(user, &json!(operator.realm.user("diku_admin")?.user_id), "users are known by `user_id`");
    Ok(())
}

async fn an_alert_fires_and_clears(operator: &Operator, mut vault: Process) -> Result<()> {
    let _prometheus = watch(operator)?;
    told(operator, "no alert while the vault runs", str::is_empty).await?;
    assert!(vault.terminate(SOON).await?.success());
    told(operator, "an alert that fires", |said| said.contains("firing TokenvaultDown\n")).await?;
    let mut vault = operator.serve().await?;
    told(operator, "no alert any more", |said| !said.contains("TokenvaultDown")).await?;
    assert!(vault.terminate(SOON).await?.success());
    Ok(())
}

/// The files that an operator changes, where the page makes them.
const EDITED: [&str; 5] =
    ["tokenvault.toml", "policy.toml", "admin-policy.toml", "tenants.toml", "secrets/keyring.toml"];

/// Follows a page's blocks up to the first start, changes the files as an operator does, and follows them again: what they
/// print then.
async fn prepared_twice(page: &Page, blocks: &[&str]) -> Result<String> {
    let operator = Operator::new(page).await?;
    let prepare = || -> Result<String> {
        let said = blocks.iter().map(|block| run(operator.script(&operator.block(block)?)));
        Ok(said.collect::<Result<Vec<_>>>()?.concat())
    };
    prepare()?;
    let etc = operator.dir().join("etc");
    for file in EDITED.iter().map(|file| etc.join(file)).filter(|file| file.exists()) {
        edit(&file)?;
    }
    let first = Tree::of(&etc)?;

    let said = prepare()?;

    assert_eq!(first.changed(&etc)?, [""; 0], "{said}");
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
async fn preparing_twice_changes_nothing_that_is_there() -> Result<()> {
    for (page, blocks) in [(&INSTALL, &["prepare"][..]), (&folio::FOLIO, &["keycloak", "files"])] {
        let said = prepared_twice(page, blocks).await?;
        for kept in ["tokenvault.toml: kept", "policy.toml: kept", "keyring.toml: kept", "server.pem: kept"] {
            assert!(said.contains(kept), "{}: {kept}: {said}", page.file);
        }
    }
    Ok(())
}
