//! The vault and everything it needs: set up, used, and always taken down again.

use std::path::PathBuf;
use std::sync::Arc;

use tokenvault_core::ports::{Clock, Entropy};
use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::{Config, Environment};
use tokenvault_server::entropy::OsEntropy;
use tokenvault_server::runtime::{self, Backing, Running};
use tokenvault_server::telemetry::logs;

use super::error::DemoError;
use super::files::{self, CallerCertificates, Directory};
use super::identity_provider::DemoIdp;
use super::module::DemoModule;
use super::settings::DemoSettings;

/// A running vault with everything it needs.
pub struct DemoEnvironment<'a> {
    pub(super) idp: &'a DemoIdp,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) settings: &'a DemoSettings,
    vault: Running,
    dir: Directory,
    certificates: CallerCertificates,
}

/// Sets everything up, runs `act` until it or `stop` is done, and takes everything down. `None` if it was stopped.
pub async fn with_environment<T>(
    settings: &DemoSettings,
    stop: impl Future<Output = ()>,
    act: impl AsyncFnOnce(&DemoEnvironment<'_>) -> Result<T, DemoError>,
) -> Result<Option<T>, DemoError> {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    // Not to be interrupted: a realm half made would stay.
    let idp = DemoIdp::start(settings, &*entropy).await?;
    let run = async {
        let environment = DemoEnvironment::start(&idp, settings, entropy).await?;
        let outcome = tokio::select! {
            outcome = act(&environment) => outcome.map(Some),
            () = stop => Ok(None),
        };
        // Before its files go, which it watches.
        environment.vault.stop();
        environment.vault.finish().await;
        outcome
    };
    let outcome = run.await;
    let finished = idp.finish().await;
    let outcome = outcome?;
    finished.map(|()| outcome)
}

impl<'a> DemoEnvironment<'a> {
    async fn start(idp: &'a DemoIdp, settings: &'a DemoSettings, entropy: Arc<dyn Entropy>) -> Result<Self, DemoError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let dir = Directory::open(settings.dir.as_deref())?;
        let certificates = files::write(&dir, idp, settings, clock.now(), &*entropy)?;
        // What the developer's own environment sets is meant for another vault.
        let config = Config::load(&dir.path("tokenvault.toml"), &Environment::default())?;
        if settings.logs {
            logs::start(&config.telemetry);
        }
        let backing = if settings.redis_url.is_some() { Backing::Redis } else { Backing::Memory };
        let vault = runtime::start(&config, backing).await?;
        Ok(Self { idp, clock, entropy, settings, vault, dir, certificates })
    }

    /// The module that registers jobs.
    pub(super) fn registrar(&self) -> Result<DemoModule, DemoError> {
        self.module(&self.certificates.registrar.identity())
    }

    /// The module that works on them.
    pub(super) fn worker(&self) -> Result<DemoModule, DemoError> {
        self.module(&self.certificates.worker.identity())
    }

    fn module(&self, identity: &[u8]) -> Result<DemoModule, DemoError> {
        DemoModule::new(self.vault.address(), &self.certificates.ca_pem, identity, Arc::clone(&self.clock))
    }

    /// Where modules call the vault.
    pub fn vault_url(&self) -> String {
        format!("https://localhost:{}", self.vault.address().port())
    }

    /// Where health and metrics are.
    pub fn management_url(&self) -> String {
        format!("http://{}", self.vault.management_address())
    }

    /// Where the realm is.
    pub fn realm_url(&self) -> &str {
        &self.idp.realm_url
    }

    /// One of the files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// The directory of the files.
    pub fn dir(&self) -> PathBuf {
        self.dir.path("")
    }
}
