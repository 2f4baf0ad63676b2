//! What the vault does for modules: register, read, release, list. The HTTP layer parses and answers; everything that
//! is decided about a job on a module's behalf is decided here, through the core's ports.
//!
//! A read never calls the identity provider. Nothing here renews a token: a read that needs a renewal makes the job due,
//! wakes the reconciler and looks at the store again.

mod acquire;
mod children;
mod first_reads;
mod joining;
mod list;
mod quota;
mod read;
mod refusals;
mod register;
mod release;
mod request;
mod unverified_jwt;
mod update;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use first_reads::FirstReads;
use joining::JoinGate;
use parking_lot::Mutex;
use tokenvault_core::ids::{Generation, JobId, JobKey, ModuleName, SessionId, TenantId, UserId};
use tokenvault_core::ports::{StoreCause, StoreError, Stored};
use tokenvault_core::record::{Acquisition, OnLogout, Record};
use tokenvault_core::seal::SealError;
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;
use tokio_util::sync::CancellationToken;

use refusals::seal_problem;
pub use refusals::store_problem;

use crate::problem::{Code, Problem};
use crate::services::Services;
use crate::tenants::TenantRules;

/// The module on whose behalf something is done, in the tenant of the request. Its right to the action was checked.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The module the certificate names.
    pub module: ModuleName,
    /// The tenant of this request.
    pub tenant: TenantId,
    /// The acquisitions it may ask for.
    pub acquisitions: BTreeSet<Acquisition>,
    /// Whether it may read tokens of jobs that name it.
    pub reads: bool,
}

/// What a module asks to have registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The user's live access token: the proof of consent, and the subject of the exchange. A child may do without, for its
    /// parent was proven.
    pub access_token: Option<AccessToken>,
    /// If given, it must be what the access token says.
    pub user_id: Option<UserId>,
    /// The deposited refresh token, for `adopt`.
    pub refresh_token: Option<RefreshToken>,
    /// How the pair is to be come by.
    pub acquisition: Option<Acquisition>,
    /// The job whose pair is to be shared.
    pub parent_job_id: Option<JobId>,
    /// Modules that may read beside the registrar.
    pub readers: Option<BTreeSet<ModuleName>>,
    /// What a logout does.
    pub on_logout: Option<OnLogout>,
    /// The hard end.
    pub expires_at: Option<Timestamp>,
}

impl Registration {
    /// The access token, where nothing can be done without.
    fn token(&self) -> Result<&AccessToken, Problem> {
        let detail = "access_token is missing. Only a child, which names its parent_job_id, may do without.";
        self.access_token.as_ref().ok_or_else(|| Problem::new(Code::InvalidRequest, detail))
    }

    /// What it stands on.
    fn proven_by(&self) -> ProvenBy {
        if self.access_token.is_some() { ProvenBy::AccessToken } else { ProvenBy::Parent }
    }
}

/// A job as its registrar is told of it: no tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The job.
    pub job_id: JobId,
    /// Its user.
    pub user_id: UserId,
    /// `active`, `suspended`, `releasing` or `ended`.
    pub state: &'static str,
    /// Why it ended or is suspended.
    pub reason: Option<&'static str>,
    /// How its pair was come by.
    pub acquisition: Acquisition,
    /// What a logout does.
    pub on_logout: OnLogout,
    /// The job whose pair it shares.
    pub parent_job_id: Option<JobId>,
    /// Its registrar.
    pub registrar: ModuleName,
    /// Modules that may read beside the registrar.
    pub readers: Vec<ModuleName>,
    /// The pairs it has had.
    pub generation: Generation,
    /// When it was registered.
    pub created_at: Timestamp,
    /// Its hard end.
    pub expires_at: Timestamp,
    /// When the session is expected to end, as far as Keycloak has told.
    pub session_expires_at: Option<Timestamp>,
    /// The session its pair lives in: for the audit log alone.
    pub session_id: Option<SessionId>,
}

/// What a registration stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProvenBy {
    /// The user's access token.
    AccessToken,
    /// The parent job, whose token the caller may read.
    Parent,
}

/// The answer to a registration.
#[derive(Debug, Clone)]
pub struct Registered {
    /// What it stands on.
    pub proven_by: ProvenBy,
    /// Whether it is new (201) or was there already (200).
    pub created: bool,
    /// The job.
    pub job: JobView,
}

/// What a read asks for.
#[derive(Debug, Clone, Copy)]
pub struct ReadRequest {
    /// The least life the token must have left; the default of the configuration where `None`.
    pub min_ttl: Option<Duration>,
    /// How long to wait for a renewal.
    pub wait: Duration,
    /// The generation the caller has (`If-None-Match`).
    pub known: Option<Generation>,
}

/// A live access token.
#[derive(Debug, Clone)]
pub struct LiveToken {
    /// The token.
    pub access_token: AccessToken,
    /// What is left of its life.
    pub expires_in: Duration,
    /// When it expires.
    pub expires_at: Timestamp,
    /// Its scope.
    pub scope: String,
    /// The job's user.
    pub user_id: UserId,
    /// The job that was asked for (not its parent).
    pub job_id: JobId,
    /// The pair's generation.
    pub generation: Generation,
}

/// The answer to a read.
#[derive(Debug, Clone)]
pub enum ReadAnswer {
    /// A token.
    Token(LiveToken),
    /// The generation the caller has is still good for what it asked (304).
    NotModified(Generation),
}

/// A page of a user's jobs.
#[derive(Debug, Clone)]
pub struct JobPage {
    /// The jobs, in order of their ids.
    pub jobs: Vec<JobView>,
    /// Where the next page starts (exclusive), if there is one.
    pub next: Option<JobId>,
}

/// What holds for all tenants.
#[derive(Debug, Clone)]
pub struct Options {
    /// The least life of a served token where a read names none.
    pub default_min_ttl: Duration,
}

/// The use cases.
pub struct Vault {
    services: Services,
    options: Options,
    /// Cancelled on shutdown: waiting reads answer at once.
    stop: CancellationToken,
    /// Whose full lists were looked through for room lately, and when.
    looked_through: Mutex<HashMap<String, Timestamp>>,
    joins: JoinGate,
    first_reads: FirstReads,
}

impl Vault {
    /// Puts the use cases on their services.
    pub fn new(services: Services, options: Options, stop: CancellationToken) -> Self {
        let (joins, first_reads) = (JoinGate::default(), FirstReads::default());
        Self { services, options, stop, looked_through: Mutex::default(), joins, first_reads }
    }

    fn rules(&self, tenant: &TenantId) -> Result<Arc<TenantRules>, Problem> {
        self.services
            .tenants
            .get(tenant)
            .ok_or_else(|| Problem::new(Code::Unsupported, "The tenant is not configured in this vault."))
    }

    /// Whether a job's record can be judged at all now.
    fn check_available(&self, key: &JobKey) -> Result<(), Problem> {
        if !self.services.clock.is_sure() {
            return Err(store_problem(StoreError::Unavailable(StoreCause::ClockUnheard)));
        }
        // A tenant may be taken out while somebody waits for a token of it.
        self.rules(&key.tenant).map(drop)
    }

    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, Problem> {
        self.check_available(key)?;
        let stored = self.services.store.load(key).await.map_err(store_problem)?;
        if let Some(stored) = &stored {
            self.services.verify_terms(&stored.record).map_err(altered)?;
        }
        Ok(stored)
    }
}

fn altered(error: SealError) -> Problem {
    seal_problem(error, "The stored record was altered by somebody else than the vault.")
}

/// A record as its registrar is shown it.
fn view(record: &Record) -> JobView {
    let reason = record.state.reason();
    let session_end = record.session_ends_at.or_else(|| record.pair.as_ref().and_then(|pair| pair.refresh.expires_at));
    JobView {
        job_id: record.key.job.clone(),
        user_id: record.user.clone(),
        state: record.state.code(),
        reason,
        acquisition: record.acquisition,
        on_logout: record.on_logout,
        parent_job_id: record.parent.clone(),
        registrar: record.registrar.clone(),
        readers: record.readers.iter().cloned().collect(),
        generation: record.generation,
        created_at: record.created_at,
        expires_at: record.expires_at,
        session_expires_at: session_end,
        session_id: record.session.as_ref().map(|session| session.sid.clone()),
    }
}
