//! The use cases with their lines in the audit log.
//!
//! A token leaves only after its line was taken down, where recording is required. What changes something is refused
//! before it is begun if it could not be recorded, and its line is kept until it can be written if it could not be in the
//! end. A release is never refused for want of a line: it takes something away.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::{JobId, JobKey, UserId};
use tokenvault_vault::jobs::{Caller, JobPage, ProvenBy, ReadAnswer, ReadRequest, Registered, Registration, Vault};
use tokenvault_vault::journal::{Act, Actor, Entry, Journal, NotRecorded};
use tokenvault_vault::problem::{Code, Problem};

use super::admission::still_admitted;
use super::job_body::AcquisitionBody;
use super::jobs::{Jobs, ModuleCall};
use crate::callers::{Action, CallerPolicy};
use crate::web::detached;

/// The use cases, each act recorded.
pub struct AuditedJobs {
    vault: Arc<Vault>,
    callers: Arc<dyn CallerPolicy>,
    journal: Arc<dyn Journal>,
}

impl AuditedJobs {
    /// Records what the vault does.
    pub fn new(vault: Arc<Vault>, callers: Arc<dyn CallerPolicy>, journal: Arc<dyn Journal>) -> Self {
        Self { vault, callers, journal }
    }

    /// Notes what is about to be answered; a refusal is told all the same.
    async fn hand_out<T>(&self, answer: Result<T, Problem>, entry: Entry) -> Result<T, Problem> {
        match answer {
            Ok(answer) => self.journal.note(entry).await.map(|()| answer).map_err(unavailable),
            Err(problem) => {
                self.journal.record(refused(entry, &problem));
                Err(problem)
            }
        }
    }
}

/// What changes something runs to its end even if the caller hangs up: a session that was acquired must not be forgotten
/// half-way, nor its line.
#[async_trait]
impl Jobs for AuditedJobs {
    async fn register(&self, call: ModuleCall, job: JobId, request: Registration) -> Result<Registered, Problem> {
        self.journal.ready().map_err(unavailable)?;
        let entry = call.entry(Act::Register).of(&JobKey::new(call.caller.tenant.clone(), job.clone()));
        let (vault, journal) = (Arc::clone(&self.vault), Arc::clone(&self.journal));
        detached(call.permits.clone(), async move {
            let answer = vault.register(&call.caller, job, request).await;
            journal.record(match &answer {
                Ok(registered) => registration(entry, registered),
                Err(problem) => refused(entry, problem),
            });
            if answer.is_ok() {
                journal.settled().await.map_err(unavailable)?;
            }
            answer
        })
        .await
    }

    async fn read(&self, call: ModuleCall, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem> {
        let answer = self.vault.read(&call.caller, job, request).await;
        // The policy may have changed while the read waited.
        let answer = answer.and_then(|answer| still_admitted(&*self.callers, &call, Action::Read).map(|()| answer));
        if answer.is_ok() && !self.journal.keeps_notes() {
            call.reached.mark();
            return answer;
        }
        let mut entry = call.entry(Act::Read).of(&JobKey::new(call.caller.tenant.clone(), job.clone()));
        match &answer {
            Ok(ReadAnswer::Token(token)) => {
                entry = entry.user(&token.user_id).detail(format!("generation {}", token.generation));
            }
            Ok(ReadAnswer::NotModified(_)) => entry.outcome = "not_modified",
            Err(_) => {}
        }
        self.hand_out(answer, entry).await
    }

    async fn release(&self, call: ModuleCall, job: JobId) -> Result<(), Problem> {
        let entry = call.entry(Act::Release).of(&JobKey::new(call.caller.tenant.clone(), job.clone()));
        let (vault, journal) = (Arc::clone(&self.vault), Arc::clone(&self.journal));
        detached(call.permits.clone(), async move {
            let answer = vault.release(&call.caller, &job).await;
            journal.record(match &answer {
                Ok(()) => entry,
                Err(problem) => refused(entry, problem),
            });
            answer
        })
        .await
    }

    async fn list(
        &self,
        call: ModuleCall,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<JobPage, Problem> {
        let answer = self.vault.list(&call.caller, user, after, limit).await;
        self.hand_out(answer, call.entry(Act::List).tenant(&call.caller.tenant).user(user)).await
    }
}

impl ModuleCall {
    /// A line about this call. From now on nobody else needs to write one.
    fn entry(&self, act: Act) -> Entry {
        self.reached.mark();
        let Caller { module, .. } = &self.caller;
        Entry::new(act, Actor::Module(module.to_string()), "ok").request(&*self.request_id)
    }
}

fn registration(mut entry: Entry, registered: &Registered) -> Entry {
    if !registered.created {
        entry.act = Act::Amend;
    }
    let acquisition = AcquisitionBody::from(registered.job.acquisition).as_str();
    let entry =
        entry.user(&registered.job.user_id).detail(match (registered.proven_by, &registered.job.parent_job_id) {
            (ProvenBy::Parent, Some(parent)) => format!("{acquisition}, proven by the parent {parent}"),
            _ => acquisition.to_owned(),
        });
    match &registered.job.session_id {
        Some(session) => entry.session(session),
        None => entry,
    }
}

/// The same line, for a refusal: its code, and the check or reason it names.
pub(super) fn refused(mut entry: Entry, problem: &Problem) -> Entry {
    entry.outcome = problem.code.as_str();
    let said = ["check", "reason"].into_iter().find_map(|member| problem.members.get(member)?.as_str());
    match said {
        Some(said) => entry.detail(said),
        None => entry,
    }
}

fn unavailable(_: NotRecorded) -> Problem {
    Problem::new(Code::AuditUnavailable, "What is done cannot be recorded now, and is therefore not done.")
}
