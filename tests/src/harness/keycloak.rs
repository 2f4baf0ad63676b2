//! Real Keycloak: the one that all tests share, and single ones that a test may kill.
//!
//! The shared one is `TOKENVAULT_TEST_KEYCLOAK` where `./test` has started it; else it comes from a container where an
//! engine answers, else from the distribution in the cache directory. A test must never change the shared one's `master`
//! realm, nor another test's realm.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage, ImageExt};
use tokio::sync::OnceCell;

use super::admin::Admin;
use super::postgres::Postgres;
use super::process::{Process, Watcher, poll, temporary_dir};
use super::{Failure, Result, docker, ports};

/// The Keycloak the product is tested with.
pub const VERSION: &str = "26.7.3";
/// What must be switched on. Each other set costs the distribution a new augmentation of half a minute.
pub const FEATURES: &str = "token-exchange:v1";

const START: Duration = Duration::from_mins(5); // 10 to 20 seconds on a machine at rest

const IMAGE: &str = "quay.io/keycloak/keycloak";

enum Backing {
    Given,
    Process(Process),
    Container { _container: Box<ContainerAsync<GenericImage>>, _watcher: Watcher },
}

/// A running Keycloak.
pub struct Keycloak {
    base_url: String,
    admin: (String, String),
    api: Admin,
    backing: Backing,
    launch: Option<Launch>,
}

/// How one of the test's own is started, and started again.
struct Launch {
    home: PathBuf,
    dir: TempDir,
    port: u16,
    arguments: Vec<String>,
    settings: Vec<(&'static str, String)>,
}

/// The Keycloak all tests of this process share, started at the first call.
pub async fn keycloak() -> Result<&'static Keycloak> {
    static SHARED: OnceCell<Keycloak> = OnceCell::const_new();
    SHARED.get_or_try_init(Keycloak::shared).await
}

impl Keycloak {
    async fn shared() -> Result<Self> {
        if let Ok(base_url) = std::env::var("TOKENVAULT_TEST_KEYCLOAK") {
            return Self::given(base_url.trim_end_matches('/')).await;
        }
        if docker::engine_answers() {
            match Self::in_container().await {
                Ok(keycloak) => return Ok(keycloak),
                Err(e) => announce(&e),
            }
        }
        Self::start_own().await
    }

    /// A Keycloak of the test's own, which it may pause, kill and restart. What it has answered survives a kill.
    /// Takes 10 to 20 seconds: prefer [`keycloak`].
    pub async fn start_own() -> Result<Self> {
        Self::start_own_with(Vec::new()).await
    }

    /// The same; where it calls, it also trusts the authorities in this file.
    pub async fn start_own_trusting(authorities: &Path) -> Result<Self> {
        Self::start_own_with(vec![("KC_TRUSTSTORE_PATHS", authorities.display().to_string())]).await
    }

    async fn start_own_with(mut settings: Vec<(&'static str, String)>) -> Result<Self> {
        let dir = temporary_dir("keycloak")?;
        // WRITE_DELAY=0: a commit is on disk before it is answered, as with a production database.
        let options = "NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE;WRITE_DELAY=0";
        let url = format!("jdbc:h2:file:{};{options}", dir.path().join("keycloak").display());
        let arguments = vec![format!("--features={FEATURES}")];
        settings.push(("KC_DB_URL", url));
        Self::launch(Launch { home: distribution()?, dir, port: ports::free()?, arguments, settings }).await
    }

    /// The same on PostgreSQL, which loses nothing it has answered in whatever moment Keycloak is killed; with
    /// [`FEATURES`] or, as most have it, without. The first start of either takes a minute more.
    pub async fn start_on(postgres: &Postgres, with_features: bool) -> Result<Self> {
        let mut arguments = vec!["--db=postgres".to_owned()];
        arguments.extend(with_features.then(|| format!("--features={FEATURES}")));
        let settings = vec![
            ("KC_DB_URL", postgres.jdbc_url()),
            ("KC_DB_USERNAME", postgres.user().to_owned()),
            ("KC_DB_PASSWORD", postgres.password().to_owned()),
            ("KC_DB_POOL_MAX_SIZE", "50".to_owned()),
        ];
        let home = distribution_for(if with_features { "postgres-features" } else { "postgres" }).await?;
        let (dir, port) = (temporary_dir("keycloak")?, ports::free()?);
        Self::launch(Launch { home, dir, port, arguments, settings }).await
    }

    async fn launch(launch: Launch) -> Result<Self> {
        let _lock = augmentation_lock(&launch.home).await?;
        let mut keycloak = Self::at(format!("http://127.0.0.1:{}", launch.port), Backing::Process(start(&launch)?))?;
        keycloak.launch = Some(launch);
        keycloak.wait_ready().await?;
        Ok(keycloak)
    }

    async fn given(base_url: &str) -> Result<Self> {
        let mut keycloak = Self::at(base_url.to_owned(), Backing::Given)?;
        keycloak.wait_ready().await.map_err(|e| e.context("TOKENVAULT_TEST_KEYCLOAK"))?;
        Ok(keycloak)
    }

    async fn in_container() -> Result<Self> {
        let port = ports::free()?;
        let container = GenericImage::new(IMAGE, VERSION)
            .with_mapped_port(port, 8080.tcp())
            .with_env_var("KC_BOOTSTRAP_ADMIN_USERNAME", "admin")
            .with_env_var("KC_BOOTSTRAP_ADMIN_PASSWORD", "admin")
            .with_cmd(["start-dev", "--cache=local", &format!("--features={FEATURES}")])
            .with_startup_timeout(START)
            .start()
            .await?;
        // A static is never dropped, so the container's end is left to the watcher.
        let watcher = Watcher::arm("docker rm --force --volumes \"$1\"", &[container.id()])?;
        let backing = Backing::Container { _container: Box::new(container), _watcher: watcher };
        let mut keycloak = Self::at(format!("http://127.0.0.1:{port}"), backing)?;
        keycloak.wait_ready().await?;
        Ok(keycloak)
    }

    fn at(base_url: String, backing: Backing) -> Result<Self> {
        let admin = (setting("TOKENVAULT_TEST_KEYCLOAK_USER"), setting("TOKENVAULT_TEST_KEYCLOAK_PASSWORD"));
        let api = Admin::new(http_client()?, &base_url, admin.clone());
        Ok(Self { base_url, admin, api, backing, launch: None })
    }

    /// Scheme, host and port, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The host and port, as a [`super::proxy`] wants them.
    pub fn address(&self) -> String {
        self.base_url.trim_start_matches("http://").to_owned()
    }

    /// The administrator's name.
    pub fn admin_user(&self) -> &str {
        &self.admin.0
    }

    /// The administrator's password.
    pub fn admin_password(&self) -> &str {
        &self.admin.1
    }

    /// `iss` of a realm's tokens.
    pub fn issuer(&self, realm: &str) -> String {
        format!("{}/realms/{realm}", self.base_url)
    }

    /// The admin API; all tests of this process share the administrator's token.
    pub fn admin(&self) -> Admin {
        self.api.clone()
    }

    /// SIGKILL; only for one from [`Self::start_own`].
    pub fn kill(&mut self) -> Result<()> {
        self.own()?.kill();
        // One that is started again takes no token of before, and whoever gets a new one knows that it is up.
        self.api = self.api.without_token();
        Ok(())
    }

    /// It stays reachable but answers nothing; only for one from [`Self::start_own`].
    pub fn pause(&mut self) -> Result<()> {
        self.own()?.pause()
    }

    /// Ends [`Self::pause`].
    pub fn resume(&mut self) -> Result<()> {
        self.own()?.resume()
    }

    /// Starts it again with the same data on the same port; only for one from [`Self::start_own`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.backing = Backing::Process(start(self.launch.as_ref().ok_or_else(not_own)?)?);
        self.wait_ready().await
    }

    fn own(&mut self) -> Result<&mut Process> {
        match &mut self.backing {
            Backing::Process(process) => Ok(process),
            _ => Err(not_own()),
        }
    }

    /// Ready means that the administrator gets a token, so that no test meets a half-started server.
    async fn wait_ready(&mut self) -> Result<()> {
        let admin = self.admin();
        match &mut self.backing {
            Backing::Given => {
                let patience = Duration::from_mins(2); // somebody may have started it a moment ago
                poll("the given Keycloak's admin token", patience, || async { admin.token().await.ok() }).await?;
                Ok(())
            }
            Backing::Container { .. } => {
                poll("the container's admin token", START, || async { admin.token().await.ok() }).await?;
                Ok(())
            }
            Backing::Process(process) => process.wait_ready(START, || async { admin.token().await.is_ok() }).await,
        }
    }
}

/// A client for loopback: no proxy, no redirects, and no connection kept, since each test has a runtime of its own and a
/// kept connection would belong to the one that has ended.
pub(super) fn http_client() -> Result<reqwest::Client> {
    super::install_tls_provider();
    Ok(reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(Duration::from_secs(30))
        .build()?)
}

fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "admin".to_owned())
}

fn not_own() -> Failure {
    Failure::new("this Keycloak is shared: take Keycloak::start_own() for one that may be stopped")
}

#[allow(clippy::print_stderr, reason = "the substitution must be seen in the test's output")]
fn announce(reason: &Failure) {
    eprintln!(
        "a container engine answers, but Keycloak did not start in it ({reason}); taking the distribution instead"
    );
}

/// Where `./test` keeps what it downloads.
fn cache_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("TOKENVAULT_CACHE") {
        return Ok(PathBuf::from(dir));
    }
    let home = std::env::var_os("HOME").ok_or_else(|| Failure::new("neither TOKENVAULT_CACHE nor HOME is set"))?;
    Ok(PathBuf::from(home).join(".cache/tokenvault"))
}

fn distribution() -> Result<PathBuf> {
    let home = cache_dir()?.join(format!("keycloak-{VERSION}"));
    if home.join("bin/kc.sh").is_file() {
        return Ok(home);
    }
    let place = home.display();
    Err(Failure::new(format!("Keycloak is missing in {place}: run `./test --install-only`, or set TOKENVAULT_CACHE")))
}

/// A copy of the distribution for another build of it: one that is built for another database or other features would
/// be built anew with every change between them, also under the feet of a running one.
async fn distribution_for(build: &str) -> Result<PathBuf> {
    let original = distribution()?;
    let copy = original.with_file_name(format!("keycloak-{VERSION}-{build}"));
    let _lock = augmentation_lock(&original).await?; // nor copied while it is being rewritten
    if !copy.join("bin/kc.sh").is_file() {
        let unfinished = tempfile::tempdir_in(original.parent().unwrap_or(&original))?;
        let copied = Command::new("cp").arg("-R").arg(&original).arg(unfinished.path().join("copy")).status()?;
        if !copied.success() {
            return Err(Failure::new(format!("{} could not be copied", original.display())));
        }
        std::fs::rename(unfinished.path().join("copy"), &copy)?;
    }
    Ok(copy)
}

fn start(launch: &Launch) -> Result<Process> {
    let mut command = Command::new(launch.home.join("bin/kc.sh"));
    command
        .arg("start-dev")
        .args(["--http-host=127.0.0.1", "--cache=local"])
        .args(&launch.arguments)
        .arg(format!("--http-port={}", launch.port))
        .arg(format!("--http-management-port={}", ports::free()?))
        .envs(launch.settings.iter().map(|(name, value)| (name, value)))
        .env("KC_BOOTSTRAP_ADMIN_USERNAME", setting("TOKENVAULT_TEST_KEYCLOAK_USER"))
        .env("KC_BOOTSTRAP_ADMIN_PASSWORD", setting("TOKENVAULT_TEST_KEYCLOAK_PASSWORD"))
        .env("JAVA_OPTS_KC_HEAP", "-Xms128m -Xmx768m");
    Process::spawn("keycloak", command, launch.dir.path())
}

/// The first start rewrites parts of the distribution; two at once would spoil it.
async fn augmentation_lock(home: &Path) -> Result<File> {
    let file = File::create(format!("{}.lock", home.display()))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(TryLockError::Error(e)) => return Err(e.into()),
        }
    }
}
