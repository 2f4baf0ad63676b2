//! What is told about every act: who did what to which job, when, and how it went.
//!
//! One entry feeds three readers: the audit log (a file, see [`Audit`](crate::config::Audit)), the events that operators
//! watch, and nobody else. An entry never holds a token, a key or a secret; it is made by whoever carries the act out
//! (HTTP, reconciler, admin), and nothing here decides anything about a job.

use async_trait::async_trait;
use tokenvault_core::ids::{JobKey, TenantId, UserId};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// `PUT /tokens/{job_id}`.
    Register,
    /// `GET /tokens/{job_id}`.
    Read,
    /// `GET /tokens`.
    List,
    /// A new pair was committed.
    Renew,
    /// `DELETE /tokens/{job_id}`.
    Release,
    /// A job was suspended.
    Suspend,
    /// A job ended, whoever ended it.
    End,
    /// An operator's act; the entry's detail names it.
    Admin,
}

impl Act {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Read => "read",
            Self::List => "list",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Suspend => "suspend",
            Self::End => "end",
            Self::Admin => "admin",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A module, by its name in the policy.
    Module(String),
    /// An operator, by the name in the admin policy.
    Operator(String),
    /// This replica's reconciler.
    Vault,
    /// A caller that the policy does not know.
    Unknown,
}

/// One act.
#[derive(Debug, Clone)]
pub struct Entry {
    /// What was done.
    pub act: Act,
    /// By whom.
    pub actor: Actor,
    /// In which tenant, where that is known.
    pub tenant: Option<TenantId>,
    /// To which job.
    pub job: Option<JobKey>,
    /// Whose.
    pub user: Option<UserId>,
    /// How it went: `ok`, or a problem's or an end's code.
    pub outcome: &'static str,
    /// What there is to add: an operator's command, a step, a reason's code.
    pub detail: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
}

/// It cannot be recorded, and recording is required.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct NotRecorded;

/// Takes entries down.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Takes an entry down. Fails only where recording is required; the caller then refuses what it has not handed out yet.
    async fn note(&self, entry: Entry) -> Result<(), NotRecorded>;
}

/// A journal that takes nothing down: for tests, simulations and demonstrations.
#[derive(Debug, Default)]
pub struct Unwritten;

#[async_trait]
impl Journal for Unwritten {
    async fn note(&self, _entry: Entry) -> Result<(), NotRecorded> {
        Ok(())
    }
}
