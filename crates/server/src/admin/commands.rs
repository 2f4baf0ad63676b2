//! The use cases as the handlers see them, so that each handler can be tested by itself.

use std::time::Duration;

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, JobKey, ReplicaId, TenantId, UserId};
use tokenvault_core::ports::{Census, Event, Filter, Pause, ReplicaStatus, Resealing, Stored};
use tokenvault_core::time::Timestamp;
use tokenvault_vault::problem::Problem;

use super::cursor::Cursor;
use crate::web::RequestPermits;

/// Who acts, and with which request.
#[derive(Debug, Clone)]
pub struct OperatorCall {
    /// The operator's name in the policy.
    pub operator: String,
    /// The request's id.
    pub request_id: String,
    /// What the request holds, for as long as anything of it is under way.
    pub(super) permits: RequestPermits,
}

impl OperatorCall {
    /// An operator with a request that holds nothing.
    pub fn new(operator: impl Into<String>, request_id: impl Into<String>) -> Self {
        Self { operator: operator.into(), request_id: request_id.into(), permits: RequestPermits::default() }
    }
}

/// How the vault fares as a whole.
#[derive(Debug, Clone)]
pub struct VaultStatus {
    /// Which replica answers.
    pub replica: ReplicaId,
    /// The time there.
    pub now: Timestamp,
    /// All live replicas.
    pub replicas: Vec<ReplicaStatus>,
    /// How many records there are about that have not ended.
    pub records: u64,
    /// How many there were in each state when they were counted last.
    pub census: Option<Census>,
    /// How many of them are due.
    pub due: u64,
    /// The key that was promoted last.
    pub promoted_key: Option<String>,
    /// The pause that is in force.
    pub pause: Option<Pause>,
    /// The last re-sealing.
    pub resealing: Option<Resealing>,
}

/// Which jobs are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobsQuery {
    /// What they have in common.
    pub filter: Filter,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// About how many.
    pub limit: usize,
}

/// Some jobs.
#[derive(Debug, Default)]
pub struct JobsPage {
    /// Their records.
    pub jobs: Vec<Stored>,
    /// How many records on the way could not be read.
    pub unreadable: u64,
    /// Where to go on.
    pub next: Option<Cursor>,
    /// Whether the tenant that was asked for is configured; `None` where none was.
    pub tenant_known: Option<bool>,
}

/// A renewal that was asked for.
#[derive(Debug)]
pub struct RequestedRenewal {
    /// The record whose pair is to be renewed: a child's is its parent's.
    pub owner: Stored,
    /// The pause that keeps it waiting.
    pub pause: Option<Pause>,
}

/// What became of a user's jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RevokedJobs {
    /// Jobs that ended now.
    pub revoked: Vec<JobId>,
    /// Jobs that could not be ended, and the problem's code.
    pub failed: Vec<(JobId, &'static str)>,
}

/// A key and who holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolders {
    /// Its id.
    pub id: String,
    /// The live replicas that hold it.
    pub replicas: Vec<ReplicaId>,
    /// Those that do not.
    pub missing: Vec<ReplicaId>,
    /// Those of them that hold another key by this id.
    pub wrong: Vec<ReplicaId>,
    /// The check value that was vouched for.
    pub check: Option<String>,
    /// In how many records something is sealed with it, where they were counted.
    pub records: Option<u64>,
}

/// The keys there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOverview {
    /// The one that seals: the promoted one, or the one that all replicas' files agree on.
    pub primary: Option<String>,
    /// Whether it was promoted.
    pub promoted: bool,
    /// All that some live replica holds, or that some counted record needs.
    pub keys: Vec<KeyHolders>,
    /// When it was begun to count the records, where they were counted.
    pub counted_at: Option<Timestamp>,
}

/// What operators can ask for. What changes something is done on behalf of somebody.
#[async_trait]
pub trait AdminCommands: Send + Sync {
    /// How the vault fares.
    async fn status(&self) -> Result<VaultStatus, Problem>;
    /// A page of jobs.
    async fn jobs(&self, query: &JobsQuery) -> Result<JobsPage, Problem>;
    /// One job.
    async fn job(&self, key: &JobKey) -> Result<Stored, Problem>;
    /// Makes a job due now.
    async fn renew(&self, key: &JobKey) -> Result<RequestedRenewal, Problem>;
    /// Ends a job; answers with what is left of it. Done twice it is done once.
    async fn revoke(&self, by: &OperatorCall, key: &JobKey) -> Result<Stored, Problem>;
    /// Ends all jobs of a user.
    async fn revoke_user(&self, by: &OperatorCall, tenant: &TenantId, user: &UserId) -> Result<RevokedJobs, Problem>;
    /// The keys; with a count of the records under each, if that can be had in time.
    async fn keys(&self, count: bool) -> Result<KeyOverview, Problem>;
    /// Makes a key the one that seals; `false` if it was already.
    async fn promote(&self, key: &str) -> Result<bool, Problem>;
    /// Starts to seal every record with the primary key, unless that is under way.
    async fn reseal(&self) -> Result<Resealing, Problem>;
    /// The last re-sealing.
    async fn resealing(&self) -> Result<Option<Resealing>, Problem>;
    /// Stops renewal for a while.
    async fn pause(&self, by: &OperatorCall, time: Duration, reason: &str) -> Result<Pause, Problem>;
    /// Goes on; whether there was a pause.
    async fn resume(&self, by: &OperatorCall) -> Result<bool, Problem>;
    /// What happened after an event, or lately; at most `count`, oldest first.
    async fn events(&self, after: Option<&str>, count: usize) -> Result<Vec<Event>, Problem>;
}
