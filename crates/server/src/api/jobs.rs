//! The use cases as the handlers see them, so that each handler can be tested by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, UserId};
use tokenvault_vault::jobs::{Caller, JobPage, ReadAnswer, ReadRequest, Registered, Registration};
use tokenvault_vault::problem::Problem;

use crate::callers::PolicyVersion;
use crate::tls::Peer;
use crate::web::{BodyBudget, RequestPermits};

/// A request that was admitted.
#[derive(Debug, Clone)]
pub struct ModuleCall {
    /// Who asks.
    pub caller: Caller,
    /// The request's id.
    pub request_id: Arc<str>,
    /// The certificate that the caller is known by.
    pub(super) peer: Peer,
    /// The policy that it was admitted under.
    pub(super) policy: Option<PolicyVersion>,
    pub(super) reached: ReachedUseCase,
    pub(super) permits: RequestPermits,
    pub(super) body_budget: BodyBudget,
}

/// What modules can ask for.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// See [`Vault::register`](tokenvault_vault::jobs::Vault::register).
    async fn register(&self, call: ModuleCall, job: JobId, request: Registration) -> Result<Registered, Problem>;
    /// See [`Vault::read`](tokenvault_vault::jobs::Vault::read).
    async fn read(&self, call: ModuleCall, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem>;
    /// See [`Vault::release`](tokenvault_vault::jobs::Vault::release).
    async fn release(&self, call: ModuleCall, job: JobId) -> Result<(), Problem>;
    /// See [`Vault::list`](tokenvault_vault::jobs::Vault::list).
    async fn list(
        &self,
        call: ModuleCall,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem>;
}

/// Whether a request came to a use case, which writes its line in the audit log itself.
#[derive(Debug, Clone, Default)]
pub(super) struct ReachedUseCase(Arc<AtomicBool>);

impl ReachedUseCase {
    pub(super) fn mark(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn is_marked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
