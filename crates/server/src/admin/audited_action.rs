//! The journal's entries about what operators do: about a view once it was made, about a change before it is made and after.

use tokenvault_core::ids::{JobKey, TenantId, UserId};
use tokenvault_vault::journal::{Act, Actor, Entry};
use tokenvault_vault::problem::{Code, Problem};

use super::commands::OperatorCall;
use super::context::AdminContext;
use crate::web::detached;

/// The outcome an act is told with before it is done.
const ASKED: &str = "asked";

/// What is done, to whom.
#[derive(Debug, Clone, Default)]
pub(super) struct AuditedAction {
    command: String,
    tenant: Option<TenantId>,
    job: Option<JobKey>,
    user: Option<UserId>,
}

impl AuditedAction {
    /// To nobody in particular. The command is named as on the command line.
    pub(super) fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }

    /// To a job.
    pub(super) fn on_job(mut self, key: &JobKey) -> Self {
        self.tenant = Some(key.tenant.clone());
        self.job = Some(key.clone());
        self
    }

    /// To a user.
    pub(super) fn on_user(mut self, tenant: Option<&TenantId>, user: Option<&UserId>) -> Self {
        self.tenant = tenant.cloned();
        self.user = user.cloned();
        self
    }

    fn entry(&self, by: &OperatorCall, outcome: &'static str) -> Entry {
        let actor = Actor::Operator(by.operator.clone());
        let entry = Entry::new(Act::Admin, actor, outcome).detail(&*self.command).request(&*by.request_id);
        Entry { tenant: self.tenant.clone(), job: self.job.clone(), user: self.user.clone(), ..entry }
    }
}

/// An attempt that was refused.
pub(super) fn refused(actor: Actor, what: String, code: Code, request_id: String) -> Entry {
    Entry::new(Act::Admin, actor, code.as_str()).detail(what).request(request_id)
}

impl AdminContext {
    /// Shows something. What cannot be recorded is not shown.
    pub(super) async fn audit_view<T>(
        &self,
        by: &OperatorCall,
        action: AuditedAction,
        look: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let seen = look.await;
        self.note(action.entry(by, outcome(&seen))).await?;
        seen
    }

    /// Does something, to its end even if the caller hangs up. What cannot be recorded is not done.
    pub(super) async fn audit_change<T: Send + 'static>(
        &self,
        by: OperatorCall,
        action: AuditedAction,
        act: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        self.note(action.entry(&by, ASKED)).await?;
        let context = self.clone();
        detached(by.permits.clone(), async move {
            let done = act.await;
            let outcome = outcome(&done);
            tracing::info!(operator = by.operator, command = action.command, outcome, "an operator acted");
            context.journal.record(action.entry(&by, outcome));
            done
        })
        .await
    }

    async fn note(&self, entry: Entry) -> Result<(), Problem> {
        self.journal.note(entry).await.map_err(|_| {
            Problem::new(Code::AuditUnavailable, "It cannot be recorded, and what is not recorded is not done.")
        })
    }
}

fn outcome<T>(of: &Result<T, Problem>) -> &'static str {
    match of {
        Ok(_) => "ok",
        Err(problem) => problem.code.as_str(),
    }
}
