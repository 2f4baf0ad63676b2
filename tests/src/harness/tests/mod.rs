//! The harness itself: what it starts is real, does what its name says, and is gone afterwards.

mod proxy;
mod suite;
mod topologies;
mod vault;

use std::process::Command;
use std::time::Duration;

use crate::harness::certs::{Subject, TestCa, Validity};
use crate::harness::keycloak::{FEATURES, Keycloak, VERSION, keycloak};
use crate::harness::process::{Process, SOON, wait_until};
use crate::harness::proxy::{Fault, Proxy};
use crate::harness::realm::{LOGIN_APP, LabRealm, TokenError, VAULT, claims};
use crate::harness::redis::{Redis, patient};
use crate::harness::{Result, root};
use serde_json::json;

fn runs(id: u32) -> bool {
    // A zombie has no command line.
    std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn a_process_is_gone_when_its_guard_is_dropped() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut command = Command::new("sleep");
    command.arg("600");
    let process = Process::spawn("sleeper", command, dir.path())?;
    let id = process.id();
    assert!(runs(id));

    drop(process);

    assert!(!runs(id));
    Ok(())
}

#[tokio::test]
async fn a_process_is_gone_when_its_test_process_is_killed() -> Result<()> {
    // Arrange: this very test binary runs once more, as a test process that starts a child and then hangs.
    let dir = tempfile::tempdir()?;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "harness::tests::hangs_with_a_child_where_asked_to", "--nocapture"])
        .env("HARNESS_HANG_DIR", dir.path());
    let mut inner = Process::spawn("inner", command, dir.path())?;
    let file = dir.path().join("child");
    wait_until("the inner test's child", SOON, async || file.exists()).await?;
    let child: u32 = std::fs::read_to_string(&file)?.parse()?;
    assert!(runs(child));

    inner.kill();

    wait_until("the child's end", SOON, async || !runs(child)).await
}

#[tokio::test]
async fn hangs_with_a_child_where_asked_to() -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "how the outer test reaches the inner one")]
    let Some(dir) = std::env::var_os("HARNESS_HANG_DIR") else { return Ok(()) };
    let dir = std::path::PathBuf::from(dir);
    let mut command = Command::new("sleep");
    command.arg("600");
    let process = Process::spawn("sleeper", command, &dir)?;
    std::fs::write(dir.join("child.new"), process.id().to_string())?;
    std::fs::rename(dir.join("child.new"), dir.join("child"))?;
    std::future::pending().await
}

#[tokio::test]
async fn an_append_only_redis_keeps_its_data_over_a_kill() -> Result<()> {
    let mut redis = Redis::options().append_only().password("p4ss").start().await?;
    let mut connection = redis.connection().await?;
    redis::cmd("SET").arg("key").arg("value").query_async::<()>(&mut connection).await?;

    redis.kill().await?;
    assert!(redis.connection().await.is_err());
    redis.restart().await?;

    let value: String = redis::cmd("GET").arg("key").query_async(&mut redis.connection().await?).await?;
    assert_eq!(value, "value");
    Ok(())
}

#[tokio::test]
async fn a_redis_with_a_password_refuses_strangers() -> Result<()> {
    let redis = Redis::options().password("p4ss").start().await?;
    let stranger = redis::Client::open(redis.url())?;
    let mut connection = patient(&stranger).await?;

    let refused = redis::cmd("PING").query_async::<String>(&mut connection).await;

    assert!(refused.unwrap_err().to_string().contains("NOAUTH"));
    assert_eq!(std::fs::read_to_string(redis.password_file())?, "p4ss");
    Ok(())
}

#[tokio::test]
async fn a_replica_follows_its_primary() -> Result<()> {
    let primary = Redis::start().await?;
    let replica = Redis::options().replica_of(&primary).start().await?;

    redis::cmd("SET").arg("key").arg("value").query_async::<()>(&mut primary.connection().await?).await?;

    let connection = replica.connection().await?;
    wait_until("the replica to hear it", SOON, async || {
        redis::cmd("GET").arg("key").query_async::<Option<String>>(&mut connection.clone()).await.ok().flatten()
            == Some("value".to_owned())
    })
    .await
}

#[test]
fn certificates_are_files_with_private_keys() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let ca = TestCa::new()?;
    let client = ca.issue(&Subject::client().uri("spiffe://test/mod-di").validity(Validity::Expired))?;
    let crl = ca.publish_crl(&[&client], Validity::Now)?;

    assert!(std::fs::read_to_string(&client.cert)?.contains("BEGIN CERTIFICATE"));
    assert!(std::fs::read_to_string(crl)?.contains("BEGIN X509 CRL"));
    assert_eq!(std::fs::metadata(&client.key)?.permissions().mode() & 0o777, 0o600);
    client.identity()?;
    Ok(())
}

#[tokio::test]
async fn a_login_carries_what_the_vault_needs_to_see() -> Result<()> {
    let realm = LabRealm::builder().at_ttl(120).create().await?;
    let alice = realm.user("alice")?;

    let tokens = realm.login("alice").await?;

    let seen = tokens.claims();
    assert_eq!(seen["user_id"], json!(alice.user_id));
    assert_eq!(seen["sub"], json!(alice.sub));
    assert_eq!(seen["iss"], json!(realm.issuer()));
    assert_eq!(seen["azp"], json!(LOGIN_APP));
    assert_eq!(seen["typ"], json!("Bearer"));
    let audience = seen["aud"].as_array().cloned().unwrap_or_else(|| vec![seen["aud"].clone()]);
    assert!(audience.contains(&json!(VAULT)), "{audience:?}");
    // Keycloak counts from the second in which it answers, which may be the one after it signed.
    assert!((115..=120).contains(&tokens.expires_in), "{}", tokens.expires_in);
    assert_eq!(seen["exp"].as_u64().zip(seen["iat"].as_u64()).map(|(exp, iat)| exp - iat), Some(120));
    Ok(())
}

#[tokio::test]
async fn an_exchange_gives_the_vault_a_chain_in_the_users_session() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let tokens = realm.login("alice").await?;

    let pair = realm.exchange(&tokens.access_token).await?;
    let next = realm.exchange(&pair.access_token).await?;

    assert_eq!(pair.sid(), tokens.sid());
    assert_eq!(pair.claim("user_id"), realm.user("alice")?.user_id);
    assert_eq!(pair.claim("azp"), VAULT);
    assert_eq!(next.claim("user_id"), realm.user("alice")?.user_id);
    let probe = realm.introspect(VAULT, next.refresh(), "refresh_token").await?;
    assert_eq!(probe["active"], json!(true));
    Ok(())
}

#[tokio::test]
async fn an_impersonation_survives_the_users_logout_and_an_exchange_does_not() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let alice = realm.user("alice")?;
    let tokens = realm.login("alice").await?;
    let exchanged = realm.exchange(&tokens.access_token).await?;
    let own = realm.impersonate(&alice.sub).await?;
    assert_ne!(own.sid(), tokens.sid());
    assert_eq!(own.claim("user_id"), alice.user_id);

    realm.logout(LOGIN_APP, tokens.refresh()).await?;

    realm.refresh(VAULT, own.refresh()).await?;
    let refused = realm.refresh(VAULT, exchanged.refresh()).await.unwrap_err();
    assert!(matches!(refused, TokenError::Refused { status: 400, .. }), "{refused}");
    Ok(())
}

#[tokio::test]
async fn without_the_role_impersonation_is_refused() -> Result<()> {
    let realm = LabRealm::builder().without_impersonation().create().await?;

    let refused = realm.impersonate("alice").await.unwrap_err();

    assert!(matches!(refused, TokenError::Refused { status: 403, .. }), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_dropped_realm_is_gone() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let (name, admin) = (realm.name().to_owned(), realm.admin().clone());

    drop(realm);

    let gone = admin.call(reqwest::Method::GET, &format!("/{name}"), None).await.unwrap_err();
    assert!(gone.to_string().contains("404"), "{gone}");
    Ok(())
}

#[tokio::test]
async fn tokens_do_not_show_themselves() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let tokens = realm.login("bob").await?;

    let shown = format!("{tokens:?} {:?}", realm.user("bob")?);

    assert!(!shown.contains(&tokens.access_token) && !shown.contains(tokens.refresh()));
    assert_eq!(claims(tokens.refresh())["sid"], json!(tokens.sid()));
    Ok(())
}

#[tokio::test]
async fn a_refresh_whose_answer_is_cut_has_spent_the_token() -> Result<()> {
    // Arrange: the vault's way to Keycloak leads through a proxy, and so does the refresh.
    let keycloak = keycloak().await?;
    let realm = LabRealm::builder().create().await?;
    let pair = realm.exchange(&realm.login("alice").await?.access_token).await?;
    let proxy = Proxy::to(keycloak.address()).await?;
    let through = realm.through(&proxy.url("http"));
    assert_eq!(through.introspect(VAULT, pair.refresh(), "refresh_token").await?["active"], json!(true));

    proxy.strike(Fault::CutAnswerAfter(0), 1, "grant_type=refresh_token");
    let lost = through.refresh(VAULT, pair.refresh()).await.unwrap_err();

    assert!(matches!(lost, TokenError::Transport(_)), "{lost}");
    assert_eq!(proxy.struck(), 1);
    assert_eq!(through.introspect(VAULT, pair.refresh(), "refresh_token").await?["active"], json!(false));
    Ok(())
}

#[tokio::test]
async fn a_keycloak_of_ones_own_freezes_and_keeps_what_it_has_answered_over_a_kill() -> Result<()> {
    let mut keycloak = Keycloak::start_own().await?;
    let realm = LabRealm::builder().create_in(&keycloak).await?;
    let pair = realm.exchange(&realm.login("alice").await?.access_token).await?;

    keycloak.pause()?;
    let frozen = tokio::time::timeout(Duration::from_millis(500), realm.login("bob")).await;
    assert!(frozen.is_err(), "a paused server answered");
    keycloak.resume()?;
    realm.login("bob").await?;

    keycloak.kill()?;
    assert!(matches!(realm.refresh(VAULT, pair.refresh()).await.unwrap_err(), TokenError::Transport(_)));
    keycloak.restart().await?;

    let next = realm.refresh(VAULT, pair.refresh()).await?;
    assert_eq!(next.sid(), pair.sid());
    Ok(())
}

#[test]
fn the_test_command_starts_the_keycloak_the_harness_wants() -> Result<()> {
    let command = std::fs::read_to_string(root().join("test"))?;

    for line in [format!("keycloak_version={VERSION} "), format!("keycloak_features={FEATURES}\n")] {
        assert!(command.contains(&line), "./test lacks {line:?}");
    }
    Ok(())
}
