//! The use cases as the handlers see them, so that each handler can be tested by itself.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, UserId};

use crate::problem::{Code, Problem};
use crate::vault::{Caller, JobPage, ReadAnswer, ReadRequest, Registered, Registration, Vault};

/// What modules can ask for.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// See [`Vault::register`].
    async fn register(&self, caller: Caller, job: JobId, request: Registration) -> Result<Registered, Problem>;
    /// See [`Vault::read`].
    async fn read(&self, caller: &Caller, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem>;
    /// See [`Vault::release`].
    async fn release(&self, caller: Caller, job: JobId) -> Result<(), Problem>;
    /// See [`Vault::list`].
    async fn list(
        &self,
        caller: &Caller,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem>;
}

/// What changes something runs to its end even if the caller hangs up: a session that was acquired must not be forgotten
/// half-way.
#[async_trait]
impl Jobs for Arc<Vault> {
    async fn register(&self, caller: Caller, job: JobId, request: Registration) -> Result<Registered, Problem> {
        let vault = Self::clone(self);
        detached(async move { Vault::register(&vault, &caller, job, request).await }).await
    }

    async fn read(&self, caller: &Caller, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem> {
        Vault::read(self, caller, job, request).await
    }

    async fn release(&self, caller: Caller, job: JobId) -> Result<(), Problem> {
        let vault = Self::clone(self);
        detached(async move { Vault::release(&vault, &caller, &job).await }).await
    }

    async fn list(
        &self,
        caller: &Caller,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem> {
        Vault::list(self, caller, user, after, limit).await
    }
}

/// Runs to its end even if the caller hangs up.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let task = tokio::spawn(tracing::Instrument::in_current_span(work));
    task.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "Something went wrong inside the vault.")))
}
