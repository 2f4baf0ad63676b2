//! The use cases as the handlers see them, so that each handler can be tested by itself.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, UserId};
use tokenvault_vault::jobs::{Caller, JobPage, ReadAnswer, ReadRequest, Registered, Registration};
use tokenvault_vault::problem::Problem;

use super::recorded::Reached;
use crate::tls::Peer;
use crate::web::{Places, Room};

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
    /// See [`Vault::register`](tokenvault_vault::jobs::Vault::register).
    async fn register(&self, call: Call, job: JobId, request: Registration) -> Result<Registered, Problem>;
    /// See [`Vault::read`](tokenvault_vault::jobs::Vault::read).
    async fn read(&self, call: Call, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem>;
    /// See [`Vault::release`](tokenvault_vault::jobs::Vault::release).
    async fn release(&self, call: Call, job: JobId) -> Result<(), Problem>;
    /// See [`Vault::list`](tokenvault_vault::jobs::Vault::list).
    async fn list(&self, call: Call, user: &UserId, after: Option<&JobId>, limit: usize) -> Result<JobPage, Problem>;
}
