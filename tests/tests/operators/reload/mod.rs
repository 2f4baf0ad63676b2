//! What takes effect while a real `tokenvault serve` runs: a revocation list, an authority, a certificate, the policy, the
//! tenants, their clients' secrets.
//! Connections that may stay are not dropped, not even in the middle of a request; the others are gone within five seconds.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

mod line;
mod refused;
mod rights;
mod secrets;
mod tenants;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::certs::{Certificate, TestCa, Validity};
use tokenvault_tests::harness::keycloak::keycloak;
use tokenvault_tests::harness::policy::{self, Module};
use tokenvault_tests::harness::proxy::{Fault, Proxy};
use tokenvault_tests::harness::realm::LabRealm;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::Vault;
use tokio::task::JoinHandle;

use crate::reload::line::{Http, Line};

/// What the change of a file may take to have its effect.
const PROMISED: Duration = Duration::from_secs(5);
/// Longer than that: who waits so long is still waiting when the effect has come.
const WAIT: u64 = 8;

struct Stage {
    vault: Vault,
    realm: LabRealm,
    proxy: Proxy,
    _redis: Redis,
}

const STAYS: &str = "mod-stays";
const GOES: &str = "mod-goes";

impl Stage {
    async fn set() -> Result<Self> {
        let (redis, realm) = (Redis::start().await?, LabRealm::builder().at_ttl(60).create().await?);
        let proxy = Proxy::to(keycloak().await?.address()).await?;
        let vault = Vault::builder()?
            .redis(&redis)
            .tenant_at(&realm, &proxy.url("http"))?
            .revocations()?
            .module(Module::new(STAYS))
            .module(Module::new(GOES))
            .start()
            .await?;
        Ok(Self { vault, realm, proxy, _redis: redis })
    }

    fn certificate(&self, module: &str) -> Result<Certificate> {
        self.vault.ca().client_uri(&policy::uri(module))
    }

    async fn line(&mut self, certificate: &Certificate, version: Http) -> Result<Line> {
        let url = self.vault.replica().url();
        Line::open(&url, self.vault.ca(), certificate, version).await
    }

    /// A job that both modules may read, and whose token cannot be renewed any more: a read that asks for more life than
    /// is left waits as long as it may.
    async fn job_without_renewal(&self) -> Result<String> {
        let (job, proof) = (uuid::Uuid::new_v4().to_string(), self.realm.login("alice").await?);
        let body = json!({"access_token": proof.access_token, "readers": [STAYS, GOES]});
        self.vault.client(STAYS)?.put(&job, &body).await?.expect_status(201)?;
        self.proxy.set(Fault::Refuse);
        tokio::time::sleep(Duration::from_secs(6)).await;
        Ok(format!("/tokens/{job}?min_ttl=55&wait={WAIT}"))
    }

    fn write_policy(&self, modules: &[&str]) -> Result<()> {
        let modules: Vec<Module> = modules.iter().map(|name| Module::new(name)).collect();
        policy::write(&self.vault.dir().join("policy.toml"), &modules, &[self.realm.name().to_owned()])
    }

    async fn is_let_in(&mut self, certificate: &Certificate) -> bool {
        match self.line(certificate, Http::Two).await {
            Ok(mut line) => line.get("/openapi.json").await.is_ok(),
            Err(_) => false,
        }
    }
}

/// A long read: what it was answered, when it was asked and answered, and whether its connection stands.
type Busy = (Result<u16>, [Instant; 2], bool);

/// Two idle connections and two with a long read under way, over each version of HTTP.
struct Lines {
    idle: Vec<Line>,
    busy: Vec<JoinHandle<Busy>>,
}

impl Lines {
    async fn open(stage: &mut Stage, certificate: &Certificate, long_read: &str) -> Result<Self> {
        let (mut idle, mut busy) = (Vec::new(), Vec::new());
        for version in [Http::One, Http::Two] {
            let mut line = stage.line(certificate, version).await?;
            assert_eq!(line.get("/tokens/none").await?, 404);
            idle.push(line);
            let (mut line, path) = (stage.line(certificate, version).await?, long_read.to_owned());
            busy.push(tokio::spawn(async move {
                let asked = Instant::now();
                let answer = line.get(&path).await;
                (answer, [asked, Instant::now()], line.stands())
            }));
        }
        Ok(Self { idle, busy })
    }
}

#[tokio::test]
async fn a_revoked_module_is_cut_off_within_five_seconds_and_its_neighbour_notices_nothing() -> Result<()> {
    let mut stage = Stage::set().await?;
    let (good, bad) = (stage.certificate(STAYS)?, stage.certificate(GOES)?);
    let long_read = stage.job_without_renewal().await?;
    let staying = Lines::open(&mut stage, &good, &long_read).await?;
    let leaving = Lines::open(&mut stage, &bad, &long_read).await?;
    let (begun, server) = (Instant::now(), stage.vault.ca().server()?);
    let own = fs::read_to_string(stage.vault.replica().config_file())?.parse::<toml::Table>()?;
    let file = |key: &str| own["server"][key].as_str().unwrap_or_default().to_owned();

    // All of it at once: the list, the listener's own certificate, and the policy.
    stage.vault.ca().publish_crl(&[&bad], Validity::Now)?;
    fs::copy(&server.key, file("key_file"))?;
    fs::copy(&server.cert, file("cert_file"))?;
    stage.write_policy(&[STAYS, GOES, "mod-new"])?;

    for line in leaving.idle {
        let took = line.ended().await?.saturating_duration_since(begun);
        assert!(took < PROMISED, "an idle connection was closed after {took:?}");
    }
    for read in leaving.busy {
        let (answer, [_, at], _) = read.await?;
        let took = at.saturating_duration_since(begun);
        assert!(answer.is_err() && took < PROMISED, "{answer:?} after {took:?}");
    }
    assert!(!stage.is_let_in(&bad).await);

    // The neighbour's reads go on to their own end, and its connections serve again.
    for read in staying.busy {
        let (answer, [asked, at], stands) = read.await?;
        assert_eq!(answer?, 503, "the renewal that is waited for never comes");
        assert!(at.saturating_duration_since(asked) > Duration::from_secs(WAIT - 2) && stands);
    }
    for mut line in staying.idle {
        assert_eq!(line.get("/tokens/none").await?, 404);
    }
    let new = stage.certificate("mod-new")?;
    assert_eq!(stage.line(&new, Http::Two).await?.get("/tokens/none").await?, 404);
    Ok(())
}

#[tokio::test]
async fn policy_and_authorities_take_effect_on_live_connections() -> Result<()> {
    let mut stage = Stage::set().await?;
    let (first, second) = (stage.certificate(GOES)?, TestCa::new()?);
    let theirs = second.client_uri(&policy::uri(STAYS))?;
    let authorities = stage.vault.ca().cert_file();
    let first_alone = fs::read_to_string(&authorities)?;
    assert!(!stage.is_let_in(&theirs).await);

    // A second authority, whose list is there as well, and then without the one and the other again.
    let list = second.publish_crl(&[], Validity::Now)?;
    let lists = stage.vault.ca().crl_file();
    let first_list = fs::read_to_string(&lists)?;
    fs::write(&lists, format!("{first_list}{}", fs::read_to_string(list)?))?;
    fs::write(&authorities, format!("{first_alone}{}", fs::read_to_string(second.cert_file())?))?;
    let begun = Instant::now();
    while !stage.is_let_in(&theirs).await {
        assert!(begun.elapsed() < PROMISED, "the second authority is not trusted yet");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut line = stage.line(&theirs, Http::One).await?;
    assert_eq!(line.get("/tokens/none").await?, 404);
    let mut ours = stage.line(&first, Http::Two).await?;
    assert_eq!(ours.get("/tokens/none").await?, 404);
    let begun = Instant::now();
    fs::write(&authorities, &first_alone)?;
    let took = line.ended().await?.saturating_duration_since(begun);
    assert!(took < PROMISED, "a connection of an authority that is not trusted any more was closed after {took:?}");
    assert_eq!(ours.get("/tokens/none").await?, 404);

    // A module that is struck from the policy keeps its connection and gets nothing over it.
    stage.write_policy(&[STAYS])?;
    let begun = Instant::now();
    while ours.get("/tokens/none").await? != 403 {
        assert!(begun.elapsed() < PROMISED, "the policy is not in force yet");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    stage.write_policy(&[STAYS, GOES])?;
    let begun = Instant::now();
    while ours.get("/tokens/none").await? != 404 {
        assert!(begun.elapsed() < PROMISED, "the policy is not in force yet");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

#[tokio::test]
async fn an_expired_revocation_list_refuses_everybody_and_readiness_and_metrics_tell() -> Result<()> {
    let mut stage = Stage::set().await?;
    let certificate = stage.certificate(STAYS)?;
    let mut line = stage.line(&certificate, Http::Two).await?;
    assert_eq!(line.get("/tokens/none").await?, 404);

    // It runs out by itself: no file changes at that moment.
    stage.vault.ca().publish_crl(&[], Validity::For(Duration::from_secs(4)))?;
    let begun = Instant::now();
    let took = line.ended().await?.saturating_duration_since(begun);
    assert!(took < Duration::from_secs(4) + PROMISED, "{took:?}");

    assert!(!stage.is_let_in(&certificate).await);
    let url = format!("{}/readyz", stage.vault.replica().management_url());
    let ready = reqwest::Client::builder().no_proxy().build()?.get(url).send().await?;
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json::<serde_json::Value>().await?["parts"]["tls"], "the revocation list has expired");
    let until =
        stage.vault.replica().metric("tokenvault_certificate_not_after_timestamp_seconds", "client_crl").await?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
    assert!(until > 0.0 && until < now, "{until}");

    stage.vault.ca().publish_crl(&[], Validity::Now)?;
    stage.vault.replica().wait_ready().await?;
    assert!(stage.is_let_in(&certificate).await);
    Ok(())
}
