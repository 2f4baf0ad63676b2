//! What a panic says may be made of a secret. A vault that really panics, with a token in hand, tells where and no more, and
//! serves on.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokenvault_tests::harness::{Failure, Result};

use crate::canary::secrets::Canaries;

const PANICKING: &str = env!("CARGO_BIN_EXE_panicking-serve");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_panics_with_a_token_in_hand_tells_where_and_no_more_and_serves_on() -> Result<()> {
    let (redis, realm) = (Redis::start().await?, LabRealm::builder().at_ttl(8).create().await?);
    let mut vault = Vault::builder()?
        .redis(&redis)
        .tenant(&realm)?
        .module(Module::new("mod-di"))
        .set("renewal.lease", 2)
        .binary(PathBuf::from(PANICKING))
        .start()
        .await?;
    let (alice, bob) = (realm.login("alice").await?, realm.login("bob").await?);
    let client = vault.client("mod-di")?;

    client.register("of-alice", &alice).await?.expect_status(201)?;
    let answer = client.register("of-bob", &bob).await?.expect_status(500)?;
    assert_eq!((answer.code(), &answer.body["detail"]), ("internal", &"Something went wrong inside the vault.".into()));
    let generation = poll("the renewals after those that panicked", SOON, async || {
        let read = client.get_with("of-alice", "wait=1&min_ttl=1").await.ok().filter(|read| read.status == 200)?;
        read.body["generation"].as_u64().filter(|generation| *generation >= 3)
    });
    generation.await?;

    let (metrics, log) = (vault.replica().metrics().await?, vault.replica().process().log());
    let told: Vec<&str> = log.lines().filter(|line| line.contains("a panic")).collect();
    assert_eq!(told.len(), 3, "a registration and two renewals:\n{log}");
    assert!(told.iter().all(|line| line.contains("panicking-serve.rs:")), "{told:#?}");
    let mut canaries = Canaries::default();
    for (name, tokens) in [("alice's", &alice), ("bob's", &bob)] {
        canaries.add(format!("{name} access token"), &tokens.access_token);
    }
    for (place, text) in [("the log", log), ("the metrics", metrics), ("the answer", format!("{answer:?}"))] {
        assert!(!text.contains("this token"), "the words of a panic are in {place}");
        let seen = canaries.seen_in(text.as_bytes());
        assert!(seen.is_empty(), "{seen:?} in {place}");
    }
    Ok(())
}

#[test]
fn the_products_own_main_sees_to_it_before_anything_else() -> Result<()> {
    let secret = "a-secret-of-the-process-32-bytes";
    let said = |how: &str| -> Result<String> {
        let mut command = Command::new(PANICKING);
        command.arg(how).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let mut stdin = child.stdin.take().ok_or_else(|| Failure::new("no standard input"))?;
        stdin.write_all(secret.as_bytes())?;
        drop(stdin);
        let output = child.wait_with_output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert!(said("plainly")?.contains(secret), "this is what a panic says by itself");
    let told = said("after")?;
    assert!(told.contains("tokenvault: a panic at ") && told.contains("panicking-serve.rs:"), "{told}");
    assert!(!told.contains(secret) && !told.contains("in hand"), "{told}");
    Ok(())
}
