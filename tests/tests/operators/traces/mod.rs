//! Traces over OTLP: a request is followed through the store to Keycloak, nothing secret or personal is told, and a
//! collector that is away is nobody's trouble.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::collector::{Collector, ReceivedTraces};
use tokenvault_tests::harness::fake_keycloak::FakeKeycloak;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::SOON;
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result, ports};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

async fn stage(endpoint: &str) -> Result<(LabRealm, Redis, VaultBuilder)> {
    let (realm, redis) = (LabRealm::builder().at_ttl(8).create().await?, Redis::start().await?);
    let builder = Vault::builder()?.redis(&redis).tenant(&realm)?.module(Module::new("mod-di"));
    Ok((realm, redis, builder.set("telemetry.otlp_endpoint", endpoint)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callers_trace_goes_on_through_the_store_to_keycloak() -> Result<()> {
    let collector = Collector::start().await?;
    let (realm, _redis, builder) = stage(&collector.url()).await?;
    let headers = tempfile::NamedTempFile::new()?;
    fs::write(headers.path(), "x-collector-token: canary-collector\n")?;
    let vault = builder.set("telemetry.otlp_headers_file", headers.path().display().to_string()).start().await?;
    let proof = realm.login("alice").await?;
    let client = vault.client("mod-di")?;

    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let body = json!({ "access_token": proof.access_token });
    client.with_header("traceparent", &traceparent)?.put("job-of-the-trace", &body).await?.expect_status(201)?;
    let told = collector.until(|told| told.of(TRACE).any(|span| span.name.starts_with("PUT "))).await?;

    let request = told.named(TRACE, "PUT /tokens/{job_id}")?;
    assert_eq!((request.parent.as_str(), request.kind), (PARENT, ReceivedTraces::SERVER));
    assert_eq!(request.attribute("http.route"), "/tokens/{job_id}");
    assert_eq!(
        (request.attribute("http.request.method"), request.attribute("http.response.status_code")),
        ("PUT", "201")
    );
    let create = told.named(TRACE, "create")?;
    assert_eq!((create.parent.as_str(), create.attribute("db.system.name")), (request.id.as_str(), "redis"));
    let exchange = told.named(TRACE, "POST /realms/{realm}/protocol/openid-connect/token")?;
    assert_eq!((exchange.parent.as_str(), exchange.kind), (request.id.as_str(), ReceivedTraces::CLIENT));
    assert_eq!(exchange.attribute("http.response.status_code"), "200");
    assert_eq!(told.header("x-collector-token"), Some("canary-collector"));
    assert!(told.services().eq(["tokenvault"]), "the resource names the service");

    // A renewal is a trace of its own.
    let told = collector.until(|told| told.spans().any(|span| span.name == "renewal")).await?;
    let renewal = told.spans().find(|span| span.name == "renewal").expect("it was just waited for").clone();
    assert!(renewal.parent.is_empty() && renewal.trace != TRACE);
    let told = collector.until(|told| told.of(&renewal.trace).any(|span| span.name.contains("introspect"))).await?;
    // What has no parent is a beginning: a request or a renewal, never the store or a call of its own.
    let roots: BTreeSet<_> =
        told.spans().filter(|span| span.parent.is_empty()).map(|span| span.name.as_str()).collect();
    let expected = |name: &&str| *name == "renewal" || name.ends_with("/tokens/{job_id}");
    assert!(roots.iter().all(expected), "the store begins no traces: {roots:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_is_told_which_trace_a_call_belongs_to() -> Result<()> {
    let collector = Collector::start().await?;
    let (realm, _redis, builder) = stage(&collector.url()).await?;
    let proxy = FakeKeycloak::passing(realm.base_url()).await?;
    let vault = builder.tenant_at(&realm, &proxy.url())?.start().await?;
    let proof = realm.login("alice").await?;

    let body = json!({ "access_token": proof.access_token });
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    vault.client("mod-di")?.with_header("traceparent", &traceparent)?.put("job", &body).await?.expect_status(201)?;

    let heard = proxy.traceparents();
    let ours: Vec<_> = heard.iter().filter(|heard| heard.starts_with(&format!("00-{TRACE}-"))).collect();
    assert!(!ours.is_empty() && ours.iter().all(|heard| !heard.contains(PARENT)), "{heard:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_user_job_or_token_is_told() -> Result<()> {
    let collector = Collector::start().await?;
    let (realm, _redis, builder) = stage(&collector.url()).await?;
    let vault = builder.start().await?;
    let (proof, client) = (realm.login("alice").await?, vault.client("mod-di")?);
    client.register("job-canary", &proof).await?.expect_status(201)?;
    let token = client.get("job-canary").await?.expect_status(200)?.access_token().to_owned();
    client.get("../job-canary").await?;

    collector.until(|told| told.spans().any(|span| span.name == "GET /tokens/{job_id}")).await?;
    collector.until(|told| told.spans().any(|span| span.name == "renewal")).await?;

    let user = realm.user("alice")?;
    let bytes = collector.raw();
    for secret in
        ["job-canary", &user.user_id, &user.sub, &token, &proof.access_token, realm.secret("tokenvault"), realm.name()]
    {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the traces");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_or_silent_delays_nobody() -> Result<()> {
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    for endpoint in [format!("http://127.0.0.1:{}", ports::free()?), format!("http://{}", silent.local_addr()?)] {
        let (realm, _redis, builder) = stage(&endpoint).await?;
        let mut vault = builder.start().await?;
        let (proof, client) = (realm.login("alice").await?, vault.client("mod-di")?);
        client.register("job", &proof).await?.expect_status(201)?;
        let reads = async {
            for _ in 0..50 {
                client.get("job").await?.expect_status(200)?;
            }
            Ok::<_, Failure>(())
        };
        // A time-out of the exporter's would be five seconds for each of them.
        let read = tokio::time::timeout(Duration::from_mins(1), reads).await;
        read.map_err(|_| Failure::new(format!("{endpoint}: reads wait for the collector")))??;
        let stopped = vault.replica().terminate(SOON).await?;
        assert!(stopped.success(), "{endpoint}: {stopped}");
    }
    Ok(())
}
