//! Changes that are taken up and take something away: from whom is told in the log and in the operators' events.

use std::fs;

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::certs::{Subject, Validity};
use tokenvault_tests::harness::policy::{self, Module};
use tokenvault_tests::harness::process::{SOON, wait_until};

use crate::reload::refused::Stage;

fn modules() -> [Module; 3] {
    [
        Module::new("mod-stays").tenants(&["here", "guest"]),
        Module::new("mod-less").tenants(&["here", "guest"]).register(&["exchange", "impersonate"]),
        Module::new("mod-gone").tenants(&["*"]),
    ]
}

async fn until_told(stage: &mut Stage, file: &str, words: &str) -> Result<()> {
    let (named, told) = (format!("\"file\":\"{file}\""), format!("{file}: {words}"));
    let begun = std::time::Instant::now();
    loop {
        let events = stage.events().await?;
        let log = stage.vault.replica().process().log();
        let in_log = log
            .lines()
            .any(|line| [&*named, "a change takes rights away", words].iter().all(|part| line.contains(part)));
        if in_log && events.contains("rights_removed") && events.contains(&told) {
            return Ok(());
        }
        assert!(begun.elapsed() < SOON, "{words} is not in the log or not in the events\n{log}\n{events}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_change_that_takes_rights_away_says_from_whom() -> Result<()> {
    let mut stage = Stage::set(&modules()).await?;
    let policy = stage.file("policy", "file")?;
    let [stays, ..] = modules();
    let less = Module::new("mod-less").tenants(&["here"]).register(&["exchange"]).actions(&["read"]);
    policy::write(&policy, &[stays, less], &[])?;
    until_told(
        &mut stage,
        "policy",
        "mod-gone: everything; mod-less: register by impersonate, release, watch, tenant guest",
    )
    .await?;

    // A pattern that covers no tenant there is takes away what the name gave.
    policy::write(&policy, &[Module::new("mod-stays").tenants(&["heer*"])], &[])?;
    until_told(&mut stage, "policy", "mod-less: everything; mod-stays: tenant guest, tenant here").await?;

    policy::write(&policy, &[Module::new("mod-stays").tenants(&["*"])], &[])?;
    fs::write(stage.files.path().join("tenants.toml"), "")?;
    until_told(&mut stage, "tenants", "mod-stays: tenant guest").await?;

    let operators = stage.file("admin", "policy_file")?;
    let text = fs::read_to_string(&operators)?;
    fs::write(&operators, text.replace("\"operate\"", "\"view\""))?;
    until_told(&mut stage, "admin_policy", "operator-operate: operate").await?;

    let gone = stage.vault.ca().client_uri("spiffe://test/gone")?;
    stage.vault.ca().publish_crl(&[&gone], Validity::Now)?;
    until_told(&mut stage, "server_client_crl", "the holder of the certificate ").await?;
    // A name more takes nothing away; without it again, whoever calls by that name gets in no more.
    let [more, less] = [Subject::server().dns("other.test"), Subject::server()];
    let [more, less] = [stage.vault.ca().issue(&more)?, stage.vault.ca().issue(&less)?];
    let [cert, key] = [stage.file("server", "cert_file")?, stage.file("server", "key_file")?];
    let log = stage.vault.replica().process().log_path().to_owned();
    let read_again = || {
        let log = fs::read_to_string(&log).unwrap_or_default();
        log.lines().filter(|line| line.contains("certificates were read again")).count()
    };
    let before = read_again();
    fs::copy(&more.key, &key)?;
    fs::copy(&more.cert, &cert)?;
    wait_until("the certificate with a name more", SOON, || async { read_again() > before }).await?;
    fs::copy(&less.key, &key)?;
    fs::copy(&less.cert, &cert)?;
    until_told(&mut stage, "server_certificate", "callers of other.test: ").await
}
