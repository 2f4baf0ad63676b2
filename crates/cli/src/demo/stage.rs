//! Everything set up, and taken down again whatever happens in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ports::{Clock, Entropy};
use tokenvault_core::secret::ClientSecret;
use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::{Config, Environment};
use tokenvault_server::entropy::OsEntropy;
use tokenvault_server::runtime::{self, Backing, Running};
use tokenvault_server::telemetry::logs;
use url::Url;

use super::error::DemoError;
use super::files::{self, Callers, Directory};
use super::idp::Idp;
use super::module::Module;
use super::realm::Shape;

/// What the stage is to be like.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The life of an access token.
    pub at_ttl: Duration,
    /// What the realm's tokens are like.
    pub shape: Shape,
    /// Whether jobs may go on after their user's logout, in sessions of the vault's own.
    pub survive_logout: bool,
    /// A real Keycloak instead of the embedded stand-in.
    pub keycloak: Option<KeycloakAccess>,
    /// A real Redis instead of memory.
    pub redis_url: Option<String>,
    /// Where the files go, to stay there; without it, somewhere temporary.
    pub dir: Option<PathBuf>,
    /// The ports on loopback.
    pub ports: Ports,
    /// The vault's log level, if its log is to be seen.
    pub log_level: String,
    /// Whether the vault's log is to be seen, on standard error.
    pub logs: bool,
}

/// Ports on loopback; 0 takes a free one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Of the vault.
    pub vault: u16,
    /// Of its management listener.
    pub management: u16,
    /// Of the embedded identity provider.
    pub idp: u16,
}

/// How to reach a real Keycloak as its administrator.
#[derive(Debug, Clone)]
pub struct KeycloakAccess {
    /// Where it is.
    pub url: Url,
    /// An administrator of its master realm.
    pub admin: String,
    /// The administrator's password.
    pub password: ClientSecret,
    /// The CAs that sign its certificate, PEM; the system's where `None`.
    pub ca_pem: Option<Vec<u8>>,
}

/// A vault with everything it stands on.
pub struct Stage<'a> {
    pub(super) idp: &'a Idp,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) setting: &'a Setting,
    vault: Running,
    dir: Directory,
    callers: Callers,
}

/// Sets the stage up, lets `act` play on it until it is done or `stop` is, and takes it down. `None` if it was stopped.
pub async fn with_stage<T>(
    setting: &Setting,
    stop: impl Future<Output = ()>,
    act: impl AsyncFnOnce(&Stage<'_>) -> Result<T, DemoError>,
) -> Result<Option<T>, DemoError> {
    let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
    // Not to be interrupted: a realm half made would stay.
    let idp = Idp::start(setting, &*entropy).await?;
    let played = async {
        let stage = Stage::start(&idp, setting, entropy).await?;
        let played = tokio::select! {
            played = act(&stage) => played.map(Some),
            () = stop => Ok(None),
        };
        // Before its files go, which it watches.
        stage.vault.stop();
        stage.vault.finish().await;
        played
    };
    let outcome = played.await;
    let finished = idp.finish().await;
    let outcome = outcome?;
    finished.map(|()| outcome)
}

impl<'a> Stage<'a> {
    async fn start(idp: &'a Idp, setting: &'a Setting, entropy: Arc<dyn Entropy>) -> Result<Self, DemoError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let dir = Directory::open(setting.dir.as_deref())?;
        let callers = files::write(&dir, idp, setting, clock.now(), &*entropy)?;
        // What the developer's own environment sets is meant for another vault.
        let config = Config::load(&dir.path("tokenvault.toml"), &Environment::default())?;
        if setting.logs {
            logs::start(&config.telemetry);
        }
        let backing = if setting.redis_url.is_some() { Backing::Redis } else { Backing::Memory };
        let vault = runtime::start(&config, backing).await?;
        Ok(Self { idp, clock, entropy, setting, vault, dir, callers })
    }

    /// The module that registers jobs.
    pub(super) fn registrar(&self) -> Result<Module, DemoError> {
        self.module(&self.callers.registrar.identity())
    }

    /// The module that works on them.
    pub(super) fn worker(&self) -> Result<Module, DemoError> {
        self.module(&self.callers.worker.identity())
    }

    fn module(&self, identity: &[u8]) -> Result<Module, DemoError> {
        Module::new(self.vault.address(), &self.callers.ca_pem, identity, Arc::clone(&self.clock))
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

    /// One of the stage's files.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path(name)
    }

    /// The directory of its files.
    pub fn dir(&self) -> PathBuf {
        self.dir.path("")
    }
}
