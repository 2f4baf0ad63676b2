//! Keycloak away, slow, broken or replaced by somebody's error page: registrations say so and leave nothing, reads go on.

use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::fake_keycloak::{CannedAnswer, FakeKeycloak};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::{Fault, Proxy};
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm, VAULT};
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result};

use crate::bad_input::stage::{assert_no_record, assert_problem, new_job};

/// How long the vault of these cases waits for Keycloak.
const PATIENCE: Duration = Duration::from_secs(5);

/// Adds a tenant on a realm that is reached at its own address.
fn tenant(
    builder: VaultBuilder,
    dir: &TempDir,
    realm: &LabRealm,
    (name, address): (&str, &str),
) -> Result<VaultBuilder> {
    let secret = dir.path().join(format!("{name}.secret"));
    std::fs::write(&secret, realm.secret(VAULT))?;
    let key = |key: &str| format!("tenants.{name}.{key}");
    Ok(builder
        .set(&key("issuer"), realm.issuer())
        .set(&key("base_url"), format!("{address}/realms/{}", realm.name()))
        .set(&key("client_id"), VAULT)
        .set(&key("client_secret_file"), secret.display().to_string())
        .set(&key("user_id_claim"), "user_id")
        .set(&key("accepted_clients"), vec![LOGIN_APP])
        .set(&key("request_timeout"), PATIENCE.as_secs().cast_signed()))
}

struct Stage {
    realm: LabRealm,
    redis: Redis,
    vault: Vault,
    _dir: TempDir,
}

impl Stage {
    /// A vault with a tenant for each name, reached at the address beside it.
    async fn with(realm: LabRealm, tenants: &[(String, String)]) -> Result<Self> {
        let (redis, dir) = (Redis::start().await?, tempfile::tempdir()?);
        let mut builder = Vault::builder()?.redis(&redis).module(Module::new("mod-di"));
        for (name, address) in tenants {
            builder = tenant(builder, &dir, &realm, (name, address))?;
        }
        Ok(Self { vault: builder.start().await?, realm, redis, _dir: dir })
    }

    fn client(&self, tenant: &str) -> Result<Client> {
        let client = self.vault.client("mod-di")?;
        // A caller of a single tenant need not name it, but may.
        client.for_tenant(tenant)
    }
}

/// Registers a new job and asserts that it is refused as `code` and leaves no record; returns the job.
async fn assert_turned_away(stage: &Stage, tenant: &str, (status, code): (u16, &str)) -> Result<String> {
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    let answer = stage.client(tenant)?.register(&job, &login).await?;
    assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{tenant}: {answer:?}");
    assert_problem(&answer, status, code);
    assert_no_record(&stage.redis, &job).await?;
    Ok(job)
}

#[tokio::test]
async fn an_answer_that_is_none_makes_keycloak_unavailable() -> Result<()> {
    let cases = [
        ("status-500", 500, "application/json", r#"{"error":"unknown_error"}"#),
        ("status-502-page", 502, "text/html", "<html><body>Bad Gateway</body></html>"),
        ("status-200-page", 200, "text/html", "<html><body>Please sign in</body></html>"),
        ("status-403-page", 403, "text/html", "<html><body>Forbidden</body></html>"),
        ("status-404", 404, "application/json", r#"{"error":"Realm does not exist"}"#),
        ("status-429", 429, "application/json", r#"{"error":"slow_down"}"#),
        ("status-302", 302, "text/html", ""),
        ("status-204", 204, "text/plain", ""),
        ("status-200-empty", 200, "application/json", ""),
        ("status-200-no-token", 200, "application/json", r#"{"expires_in":60}"#),
        ("status-200-half", 200, "application/json", r#"{"access_token":"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOi"#),
        ("status-400-unknown", 400, "application/json", r#"{"error":"HTTP 400 Bad Request"}"#),
    ];
    let realm = LabRealm::builder().create().await?;
    let (mut tenants, mut fakes) = (Vec::new(), Vec::new());
    for (name, status, media_type, body) in cases {
        let says = CannedAnswer { status, media_type, body: body.to_owned() };
        let fake = FakeKeycloak::before(realm.base_url(), says).await?;
        tenants.push((name.to_owned(), fake.url()));
        fakes.push((name, fake));
    }
    let stage = Stage::with(realm, &tenants).await?;
    let turned_away = fakes.iter().map(async |(name, fake)| {
        let job = assert_turned_away(&stage, name, (503, "idp_unavailable")).await?;
        assert!(fake.asked() > 0, "{name} was never asked");
        fake.pass();
        let login = stage.realm.login("alice").await?;
        stage.client(name)?.register(&job, &login).await?.expect_status(201)?;
        Ok::<(), Failure>(())
    });
    futures::future::try_join_all(turned_away).await?;
    Ok(())
}

#[tokio::test]
async fn a_definite_no_is_told_with_its_reason() -> Result<()> {
    let cases = [
        ("client", 401, r#"{"error":"unauthorized_client","error_description":"Invalid client credentials"}"#),
        ("audience", 403, r#"{"error":"access_denied","error_description":"Client not allowed to exchange"}"#),
        ("consent", 400, r#"{"error":"invalid_scope","error_description":"Missing consents for x"}"#),
        ("token", 400, r#"{"error":"invalid_request","error_description":"Invalid token"}"#),
    ];
    let realm = LabRealm::builder().create().await?;
    let (mut tenants, mut fakes) = (Vec::new(), Vec::new());
    for (name, status, body) in cases {
        let says = CannedAnswer { status, media_type: "application/json", body: body.to_owned() };
        let fake = FakeKeycloak::before(realm.base_url(), says).await?;
        tenants.push((name.to_owned(), fake.url()));
        fakes.push(fake);
    }
    let stage = Stage::with(realm, &tenants).await?;
    let login = stage.realm.login("alice").await?;
    for (name, status, code, member, value) in [
        ("client", 502, "idp_rejected", "reason", "client_rejected"),
        ("audience", 502, "idp_rejected", "reason", "not_allowed"),
        ("consent", 502, "idp_rejected", "reason", "consent_missing"),
        ("token", 422, "token_rejected", "check", "subject_invalid"),
    ] {
        let job = new_job();
        let answer = stage.client(name)?.register(&job, &login).await?;
        assert_problem(&answer, status, code);
        assert_eq!(answer.body[member], value, "{name}: {answer:?}");
        assert_no_record(&stage.redis, &job).await?;
    }
    Ok(())
}

#[tokio::test]
async fn while_keycloak_is_away_registrations_wait_and_reads_go_on() -> Result<()> {
    let proxy = Proxy::to(keycloak().await?.address()).await?;
    let realm = LabRealm::builder().create().await?;
    let stage = Stage::with(realm, &[("kc".to_owned(), proxy.url("http"))]).await?;
    let client = stage.client("kc")?;

    // The keys have never been fetched.
    proxy.set(Fault::Refuse);
    let first = assert_turned_away(&stage, "kc", (503, "idp_unavailable")).await?;
    proxy.clear();
    let login = stage.realm.login("alice").await?;
    wait_until("the keys to be asked for again", SOON, async || {
        client.register(&first, &login).await.is_ok_and(|answer| answer.status == 201)
    })
    .await?;

    for fault in [
        Fault::Refuse,
        Fault::DropRequest,
        Fault::CutAnswerAfter(0),
        Fault::CutAnswerAfter(20),
        Fault::CutAnswerAfter(1500),
        Fault::SwallowAnswer,
        Fault::Delay(PATIENCE * 2),
    ] {
        proxy.set(fault);
        let begun = Instant::now();
        let job = assert_turned_away(&stage, "kc", (503, "idp_unavailable")).await?;
        assert!(begun.elapsed() < PATIENCE * 4, "{fault:?} took {:?}", begun.elapsed());
        client.get(&first).await?.expect_status(200)?;
        client.delete(&new_job()).await?.expect_status(404)?;
        proxy.clear();
        proxy.hang_up();
        client.register(&job, &login).await?.expect_status(201)?;
        client.get(&job).await?.expect_status(200)?;
    }
    Ok(())
}

#[tokio::test]
async fn without_keycloak_the_vault_is_ready_all_the_same() -> Result<()> {
    let realm = LabRealm::builder().create().await?;
    let nobody = format!("http://127.0.0.1:{}", tokenvault_tests::harness::ports::free()?);
    let mut stage = Stage::with(realm, &[("kc".to_owned(), nobody)]).await?;
    assert!(stage.vault.replica().is_ready().await);
    assert_turned_away(&stage, "kc", (503, "idp_unavailable")).await?;
    Ok(())
}
