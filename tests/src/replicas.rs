//! Replicas of the vault inside the test's own process, on a real Redis, with an identity provider that grants at once:
//! for what is about the store and the keys, over more records than a Keycloak has sessions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokenvault_core::ids::{AccountId, ClientId, JobId, ModuleName, ReplicaId, SessionId, TenantId, UserId};
use tokenvault_core::policy::Settings;
use tokenvault_core::ports::{
    CallError, Client, Clock, Fleet, Grant, GrantError, IdentityProvider, Introspection, Privilege, Proof, ProofError,
    Refusal, TokenStore,
};
use tokenvault_core::record::{Acquisition, OnLogout};
use tokenvault_core::seal::SealError;
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_redis::{RedisStore, SCHEMA};
use tokenvault_server::clock::SystemClock;
use tokenvault_server::config::load_keyring;
use tokenvault_server::config::watched_keyring;
use tokenvault_server::entropy::OsEntropy;
use tokenvault_vault::fleet::{Member, Pace};
use tokenvault_vault::jobs::{self, Caller, LiveToken, ReadAnswer, ReadRequest, Vault};
use tokenvault_vault::journal::Unwritten;
use tokenvault_vault::observer::Observer;
use tokenvault_vault::problem::Problem;
use tokenvault_vault::reconciler::{Reconciler, ReconcilerOptions};
use tokenvault_vault::services::Services;
use tokenvault_vault::tenants::{TenantRules, Tenants};
use tokenvault_vault::wake::Wake;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::redis::unhurried;
use crate::harness::{Failure, Result};
use crate::store_contract::samples::tenant;

/// The module that has registered all jobs.
pub const REGISTRAR: &str = "mod-data-import";

/// How long an access token lives here.
pub const LIFE: Duration = Duration::from_mins(20);

/// What an access token of these tests begins with: whose it is.
pub fn token_of(user: &UserId) -> String {
    format!("at.{user}.")
}

/// What the identity provider calls a user.
pub fn account_of(user: &UserId) -> Option<AccountId> {
    AccountId::parse(format!("account-{user}")).ok()
}

/// What makes tokens as large as Keycloak's are.
pub const AS_LARGE_AS_KEYCLOAKS: usize = 1_000;

/// A pair for a user, with so many characters that mean nothing.
pub fn grant(user: &UserId, sid: &SessionId, life: Duration, padding: usize) -> Grant {
    static ISSUED: AtomicU64 = AtomicU64::new(0);
    let number = ISSUED.fetch_add(1, Ordering::Relaxed);
    let padding = "x".repeat(padding);
    Grant {
        access: AccessToken::new(format!("{}{sid}.{number}.{padding}", token_of(user))),
        expires_in: life,
        refresh: RefreshToken::new(format!("rt.{user}.{sid}.{number}.{padding}")),
        refresh_expires_in: Some(Duration::from_hours(10)),
        scope: "openid".to_owned(),
        account: account_of(user),
        user: Some(user.clone()),
        sid: Some(sid.clone()),
        privileged: false,
    }
}

/// Grants whatever is asked for, to whoever the token belongs to.
struct Granting(Duration);

impl Granting {
    fn grant(&self, token: &str) -> std::result::Result<Grant, GrantError> {
        let mut services = token.split('.').skip(1);
        let user = services.next().and_then(|user| UserId::parse(user).ok());
        let sid = services.next().and_then(|sid| SessionId::parse(sid).ok());
        let whose = user.zip(sid).ok_or(GrantError::Refused(Refusal::SubjectInvalid))?;
        Ok(grant(&whose.0, &whose.1, self.0, AS_LARGE_AS_KEYCLOAKS))
    }
}

#[async_trait]
impl IdentityProvider for Granting {
    async fn verify(&self, _: &TenantId, _: &AccessToken) -> std::result::Result<Proof, ProofError> {
        Err(ProofError::Malformed)
    }

    async fn exchange(&self, _: &Client, subject: &AccessToken) -> std::result::Result<Grant, GrantError> {
        self.grant(subject.expose())
    }

    async fn refresh(&self, _: &Client, token: &RefreshToken) -> std::result::Result<Grant, GrantError> {
        self.grant(token.expose())
    }

    async fn impersonate(&self, _: &Client, _: &AccountId) -> std::result::Result<Grant, GrantError> {
        Err(GrantError::Refused(Refusal::NotAllowed))
    }

    async fn probe(&self, _: &Client, _: &RefreshToken) -> std::result::Result<bool, CallError> {
        Ok(true)
    }

    async fn introspect(&self, _: &Client, _: &AccessToken) -> std::result::Result<Introspection, CallError> {
        Ok(Introspection::Active(Privilege::Ordinary))
    }

    async fn revoke(&self, _: &Client, _: &RefreshToken) -> std::result::Result<(), CallError> {
        Ok(())
    }
}

/// What was noticed by the replicas of a test, all of them together.
#[derive(Debug, Default)]
pub struct Noticed {
    /// Seals that did not open.
    pub seal_failures: AtomicU64,
    /// Records found at an older generation than was seen.
    pub rollbacks: AtomicU64,
    /// New pairs.
    pub renewals: AtomicU64,
}

impl Observer for Noticed {
    fn seal_failure(&self, _: SealError) {
        self.seal_failures.fetch_add(1, Ordering::Relaxed);
    }

    fn rolled_back(&self) {
        self.rollbacks.fetch_add(1, Ordering::Relaxed);
    }

    fn renewal_step(&self, step: &'static str, outcome: &'static str, _: Duration) {
        if step == "exchange" && outcome == "ok" {
            self.renewals.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A running replica.
pub struct Replica {
    /// Its name.
    pub id: ReplicaId,
    /// Its use cases.
    pub vault: Arc<Vault>,
    /// Its services.
    pub services: Services,
    /// Its keyring's file.
    pub keyring_file: PathBuf,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Replica {
    /// Starts a replica that tells of itself, and looks for work, in this rhythm. Access tokens that it renews live for
    /// [`LIFE`].
    pub async fn start(
        name: &str,
        redis: &str,
        keyring_file: &Path,
        rhythm: Duration,
        noticed: &Arc<Noticed>,
    ) -> Result<Self> {
        Self::speaking(SCHEMA, name, redis, keyring_file, rhythm, noticed).await
    }

    /// The same as a version that knows no newer schema.
    pub async fn speaking(
        schema: u32,
        name: &str,
        redis: &str,
        keyring_file: &Path,
        rhythm: Duration,
        noticed: &Arc<Noticed>,
    ) -> Result<Self> {
        let id = ReplicaId::parse(name)?;
        let clock = Arc::new(SystemClock::start());
        let store = Arc::new(RedisStore::connect(&unhurried(redis))?.speaking(schema));
        store.ready().await?;
        clock.sync(&*store).await;
        let ring = load_keyring(keyring_file).map_err(|finding| Failure::new(finding.to_string()))?;
        let services = Services {
            store: Arc::clone(&store) as Arc<dyn TokenStore>,
            fleet: store as Arc<dyn Fleet>,
            idp: Arc::new(Granting(LIFE)),
            keyring: Arc::new(watched_keyring(keyring_file, ring)),
            replica: Arc::default(),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(OsEntropy),
            tenants: Arc::new(Tenants::new([rules()])),
            wake: Arc::new(Wake::default()),
            observer: Arc::clone(noticed) as Arc<dyn Observer>,
            journal: Arc::new(Unwritten),
        };
        let stop = CancellationToken::new();
        let options = jobs::Options { default_min_ttl: Duration::from_secs(10) };
        let vault = Arc::new(Vault::new(services.clone(), options, stop.clone()));
        let pace = Pace { rhythm, keep: Duration::from_secs(4), lease: Duration::from_secs(3) };
        let member = Member::new(services.clone(), id.clone(), schema).at(pace);
        member.begin().await?;
        let tasks = vec![
            tokio::spawn(Reconciler::new(services.clone(), reconciler_options(&id)).run(stop.clone())),
            tokio::spawn(member.run(stop.clone())),
        ];
        Ok(Self { id, vault, services, keyring_file: keyring_file.to_owned(), stop, tasks })
    }

    /// A live token of a job.
    pub async fn read(&self, job: &JobId) -> std::result::Result<LiveToken, Problem> {
        self.read_as(REGISTRAR, job, Duration::from_secs(5)).await
    }

    /// The same as another module, waiting for a while only.
    pub async fn read_as(&self, module: &str, job: &JobId, wait: Duration) -> std::result::Result<LiveToken, Problem> {
        self.read_for(module, job, None, wait).await
    }

    /// The same for at least so long.
    pub async fn read_for(
        &self,
        module: &str,
        job: &JobId,
        min_ttl: Option<Duration>,
        wait: Duration,
    ) -> std::result::Result<LiveToken, Problem> {
        let caller = Caller {
            module: ModuleName::parse(module).expect("these names are fit for modules"),
            tenant: tenant(),
            acquisitions: BTreeSet::new(),
            reads: true,
        };
        match self.vault.read(&caller, job, ReadRequest { min_ttl, wait, known: None }).await? {
            ReadAnswer::Token(token) => Ok(token),
            ReadAnswer::NotModified(_) => unreachable!("no generation was named"),
        }
    }

    /// Ends it as a kill would: nothing is finished, nobody is told.
    pub fn kill(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    /// Stops it as a signal would.
    pub async fn stop(self) {
        self.stop.cancel();
        futures::future::join_all(self.tasks).await;
    }
}

fn reconciler_options(replica: &ReplicaId) -> ReconcilerOptions {
    ReconcilerOptions {
        replica: replica.clone(),
        lease: Duration::from_secs(5),
        poll_interval: Duration::from_millis(200),
        concurrency: 32,
        spends_per_session: 8,
    }
}

fn rules() -> TenantRules {
    TenantRules {
        client: Client { tenant: tenant(), id: ClientId::parse("vault").expect("a client") },
        user_id_claim: "sub".to_owned(),
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Revoke,
        default_job_life: Duration::from_hours(24),
        max_job_life: Duration::from_hours(24),
        max_children: 10,
        max_jobs_per_user: 1_000,
        max_records_per_module: 100_000,
        acquisitions: Acquisition::ALL.into(),
        adopt_clients: BTreeSet::new(),
        renewal: Settings::default(),
    }
}
