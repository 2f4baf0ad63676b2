//! The vault as a process; its Keycloak is the embedded stand-in behind TLS, and both it and Redis behind proxies.

use std::fs;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use keycloak_double::{Double, DoubleConfig, RealmConfig};
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tempfile::TempDir;
use tokenvault_tests::harness::certs::TestCa;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::Module;
use tokenvault_tests::harness::process::wait_until;
use tokenvault_tests::harness::proxy::Proxy;
use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::vault::{Vault, VaultBuilder};
use tokenvault_tests::harness::{Failure, Result, install_tls_provider, stand_in};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

const REALM: &str = "diku";

/// Everything a test needs; gone when dropped.
pub(crate) struct Stage {
    pub(crate) vault: Vault,
    pub(crate) keycloak: Proxy,
    pub(crate) redis: Proxy,
    double: Double,
    front: JoinHandle<()>,
    pub(crate) store: Redis,
    _ca: TestCa,
    _secret: TempDir,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.front.abort();
    }
}

impl Stage {
    /// Access tokens live so many seconds; Keycloak speaks these protocols (ALPN).
    pub(crate) async fn set(at_ttl: u64, protocols: &[&str]) -> Result<Self> {
        Self::with(at_ttl, protocols, Ok).await
    }

    /// The same with a vault that is built otherwise.
    pub(crate) async fn with(
        at_ttl: u64,
        protocols: &[&str],
        change: impl FnOnce(VaultBuilder) -> Result<VaultBuilder>,
    ) -> Result<Self> {
        install_tls_provider();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let keycloak = Proxy::to(listener.local_addr()?.to_string()).await?;
        let realm = RealmConfig::lab(REALM).with_settings(|settings| settings.access_token_lifespan = at_ttl);
        let double = Double::start(DoubleConfig::new().realm(realm).public_url(keycloak.url("https"))).await;
        let double = double.map_err(|error| Failure::new(format!("the stand-in: {error}")))?;
        let ca = TestCa::new()?;
        let front = tokio::spawn(front(listener, acceptor(&ca, protocols)?, double.handle().router()));
        let (store, secret) = (Redis::start().await?, tempfile::tempdir()?);
        let redis = Proxy::to(store.address().to_string()).await?;
        let secret_file = secret.path().join("client-secret");
        fs::write(&secret_file, stand_in::SECRET)?;
        let issuer = format!("{}/realms/{REALM}", keycloak.url("https"));
        let vault = stand_in::tenant(Vault::builder()?.redis(&store), REALM, &issuer, &secret_file)
            .set("redis.url", redis.url("redis"))
            .set(&format!("tenants.{REALM}.ca_file"), ca.cert_file().display().to_string())
            .set("telemetry.log_level", "info")
            .module(Module::new("mod-di"));
        let vault = change(vault)?.start().await?;
        Ok(Self { vault, keycloak, redis, double, front, store, _ca: ca, _secret: secret })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.vault.client("mod-di")
    }

    /// A user's access token, had without the proxy.
    pub(crate) async fn login(&self) -> Result<String> {
        let login = stand_in::log_in(self.double.base_url(), REALM).await?;
        login["access_token"].as_str().map(str::to_owned).ok_or_else(|| Failure::new("no access token"))
    }

    /// Gives the vault's client another secret at Keycloak.
    pub(crate) fn set_secret(&self, secret: &str) -> Result<()> {
        let changed = self
            .double
            .handle()
            .with(|keycloak, _| keycloak.change_client(REALM, stand_in::CLIENT, |client| client.with_secret(secret)));
        changed.map_err(|error| Failure::new(format!("{error:?}")))
    }

    /// Registers so many jobs, one after the other with a pause in between, so that they are not renewed all at once.
    pub(crate) async fn register(&self, jobs: usize, pause: Duration) -> Result<()> {
        let client = self.client()?;
        for job in 0..jobs {
            let body = json!({ "access_token": self.login().await? });
            client.put(&job_id(job), &body).await?.expect_status(201)?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Each job's generation; `None` for one that has no token to give just now.
    pub(crate) async fn generations(&self, jobs: usize) -> Result<Vec<Option<u64>>> {
        let client = self.client()?;
        let asked = (0..jobs).map(|job| {
            let client = client.clone();
            async move {
                let answer = client.get_with(&job_id(job), "min_ttl=0&wait=0").await?;
                Ok::<_, Failure>((answer.status == 200).then(|| answer.body["generation"].as_u64()).flatten())
            }
        });
        futures::future::try_join_all(asked).await
    }

    /// How many jobs are in hand, as the store says.
    pub(crate) async fn in_hand(&self) -> Result<usize> {
        let mut connection = self.store.connection().await?;
        let keys: Vec<String> = redis::cmd("KEYS").arg("tv:{*}:job:*").query_async(&mut connection).await?;
        let mut leased = redis::pipe();
        for key in &keys {
            leased.hexists(key, "lease_until");
        }
        let leased: Vec<bool> = leased.query_async(&mut connection).await?;
        Ok(leased.into_iter().filter(|leased| *leased).count())
    }

    /// Waits until every job has a token of a later generation than before.
    pub(crate) async fn renewed_since(&self, before: &[Option<u64>], within: Duration) -> Result<()> {
        wait_until("every job to be renewed", within, async || {
            let now = self.generations(before.len()).await.unwrap_or_default();
            now.len() == before.len()
                && now.iter().zip(before).all(|(now, before)| now.is_some_and(|now| Some(now) > *before))
        })
        .await
    }

    /// Whether the first replica has said something that contains all of these.
    pub(crate) fn said(&mut self, words: &[&str]) -> bool {
        let log = self.vault.replica().process().log();
        log.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }
}

pub(crate) fn job_id(number: usize) -> String {
    format!("job-{number}")
}

fn acceptor(ca: &TestCa, protocols: &[&str]) -> Result<TlsAcceptor> {
    let certificate = ca.server()?;
    let chain = rustls::pki_types::CertificateDer::pem_file_iter(&certificate.cert)?
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&certificate.key)?;
    let mut config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok(TlsAcceptor::from(std::sync::Arc::new(config)))
}

async fn front(listener: TcpListener, acceptor: TlsAcceptor, router: axum::Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(router.clone()));
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                drop(Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await);
            }
        });
    }
}
