//! An act, as it is told.

use tokenvault_core::ids::{JobKey, SessionId, TenantId, UserId};

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    /// `PUT /tokens/{job_id}`: a new job, or a refusal.
    Register,
    /// `PUT /tokens/{job_id}` for a live job: its readers and its end may have been replaced.
    Amend,
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
    /// A file was read again: it is refused, or it takes rights away; the entry's detail says which file and what.
    Reload,
}

impl Act {
    /// Every act.
    pub const ALL: &'static [Self] = &[
        Self::Register,
        Self::Amend,
        Self::Read,
        Self::List,
        Self::Renew,
        Self::Release,
        Self::Suspend,
        Self::End,
        Self::Admin,
        Self::Reload,
    ];

    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Amend => "amend",
            Self::Read => "read",
            Self::List => "list",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Suspend => "suspend",
            Self::End => "end",
            Self::Admin => "admin",
            Self::Reload => "reload",
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

impl Actor {
    /// The stable code of its kind, and its name where it has one.
    pub fn parts(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Module(name) => ("module", Some(name)),
            Self::Operator(name) => ("operator", Some(name)),
            Self::Vault => ("vault", None),
            Self::Unknown => ("unknown", None),
        }
    }
}

/// One act. What is written of a user or a session is a keyed hash; everything else is written as it stands here.
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
    /// In which session at the identity provider.
    pub session: Option<SessionId>,
    /// How it went: `ok`, or a problem's or an end's code.
    pub outcome: &'static str,
    /// What there is to add: an operator's command, a step, a reason's code.
    pub detail: Option<String>,
    /// The request's id.
    pub request_id: Option<String>,
}

/// An event says no more than so many characters.
const LONGEST_DETAIL: usize = 600;

impl Entry {
    /// A file was read again, and this came of it: what it says is refused, or takes rights away.
    pub fn reload(file: &str, outcome: &'static str, text: &str) -> Self {
        let mut detail = format!("{file}: {text}");
        if let Some((end, _)) = detail.char_indices().nth(LONGEST_DETAIL) {
            detail.truncate(end);
            detail.push('…');
        }
        Self::new(Act::Reload, Actor::Vault, outcome).detail(detail)
    }

    /// An act of somebody's.
    pub fn new(act: Act, actor: Actor, outcome: &'static str) -> Self {
        Self { act, actor, outcome, tenant: None, job: None, user: None, session: None, detail: None, request_id: None }
    }

    /// Done to a job.
    #[must_use]
    pub fn of(mut self, job: &JobKey) -> Self {
        self.tenant = Some(job.tenant.clone());
        self.job = Some(job.clone());
        self
    }

    /// Done in a tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: &TenantId) -> Self {
        self.tenant = Some(tenant.clone());
        self
    }

    /// Done to a user's job.
    #[must_use]
    pub fn user(mut self, user: &UserId) -> Self {
        self.user = Some(user.clone());
        self
    }

    /// Done in a session.
    #[must_use]
    pub fn session(mut self, session: &SessionId) -> Self {
        self.session = Some(session.clone());
        self
    }

    /// What there is to add.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// In this request.
    #[must_use]
    pub fn request(mut self, id: impl Into<String>) -> Self {
        self.request_id = Some(id.into());
        self
    }
}
