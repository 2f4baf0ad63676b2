//! The use cases as the handlers see them, so that each handler can be tested by itself.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, UserId};

use super::limits::{Places, Room};
use super::recorded::Reached;
use crate::callers::Peer;
use crate::problem::{Code, Problem};
use crate::telemetry::traces;
use crate::vault::{Caller, JobPage, ReadAnswer, ReadRequest, Registered, Registration};

/// A request that was admitted.
#[derive(Debug, Clone)]
pub struct Call {
    /// Who asks.
    pub caller: Caller,
    /// The request's id.
    pub request_id: Arc<str>,
    /// By what the caller is known.
    pub(super) peer: Peer,
    pub(super) reached: Reached,
    pub(super) places: Places,
    pub(super) room: Room,
}

/// What modules can ask for.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// See [`Vault::register`](crate::vault::Vault::register).
    async fn register(&self, call: Call, job: JobId, request: Registration) -> Result<Registered, Problem>;
    /// See [`Vault::read`](crate::vault::Vault::read).
    async fn read(&self, call: Call, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem>;
    /// See [`Vault::release`](crate::vault::Vault::release).
    async fn release(&self, call: Call, job: JobId) -> Result<(), Problem>;
    /// See [`Vault::list`](crate::vault::Vault::list).
    async fn list(&self, call: Call, user: &UserId, after: Option<&JobId>, limit: usize) -> Result<JobPage, Problem>;
}

/// Runs to its end even if the caller hangs up, and holds the request's places until then.
pub(crate) async fn detached<T: Send + 'static>(
    places: Places,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let task = tokio::spawn(traces::along(async move {
        let done = work.await;
        drop(places);
        done
    }));
    task.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "Something went wrong inside the vault.")))
}
