//! The use cases with their lines in the audit log, and the lines of what never came to a use case.
//!
//! A token leaves only after its line was taken down, where recording is required. What changes something is refused
//! before it is begun if it could not be recorded, and its line is kept until it can be written if it could not be in the
//! end. A release is never refused for want of a line: it takes something away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tokenvault_core::ids::{JobId, JobKey, TenantId, UserId};
use tokenvault_core::record::Acquisition;
use tokenvault_vault::jobs::{Caller, JobPage, ProvenBy, ReadAnswer, ReadRequest, Registered, Registration, Vault};
use tokenvault_vault::journal::{Act, Actor, Entry, Journal, NotRecorded};
use tokenvault_vault::problem::{Code, Problem};

use super::App;
use super::context::{Callers, TENANT, module_of};
use super::jobs::{Call, Jobs};
use crate::callers::Action;
use crate::web::{RequestId, detached};

/// The use cases, each act recorded.
pub struct Recorded {
    vault: Arc<Vault>,
    callers: Arc<dyn Callers>,
    journal: Arc<dyn Journal>,
}

impl Recorded {
    /// Records what the vault does.
    pub fn new(vault: Arc<Vault>, callers: Arc<dyn Callers>, journal: Arc<dyn Journal>) -> Self {
        Self { vault, callers, journal }
    }

    /// Whether a caller that was admitted to read, and may have waited since, still is.
    fn still_reads(&self, call: &Call) -> Result<(), Problem> {
        let Caller { module, tenant, .. } = &call.caller;
        let now = self.callers.admit(&call.peer, Some(tenant.as_str()), Action::Read)?;
        let unknown = || Problem::new(Code::CallerUnknown, "The certificate maps to another module by now.");
        if now.module == *module { Ok(()) } else { Err(unknown()) }
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
impl Jobs for Recorded {
    async fn register(&self, call: Call, job: JobId, request: Registration) -> Result<Registered, Problem> {
        self.journal.ready().map_err(unavailable)?;
        let entry = call.entry(Act::Register).of(&JobKey::new(call.caller.tenant.clone(), job.clone()));
        let (vault, journal) = (Arc::clone(&self.vault), Arc::clone(&self.journal));
        detached(call.places.clone(), async move {
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

    async fn read(&self, call: Call, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem> {
        let answer = self.vault.read(&call.caller, job, request).await;
        // The policy may have changed while the read waited.
        let answer = answer.and_then(|answer| self.still_reads(&call).map(|()| answer));
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

    async fn release(&self, call: Call, job: JobId) -> Result<(), Problem> {
        let entry = call.entry(Act::Release).of(&JobKey::new(call.caller.tenant.clone(), job.clone()));
        let (vault, journal) = (Arc::clone(&self.vault), Arc::clone(&self.journal));
        detached(call.places.clone(), async move {
            let answer = vault.release(&call.caller, &job).await;
            journal.record(match &answer {
                Ok(()) => entry,
                Err(problem) => refused(entry, problem),
            });
            answer
        })
        .await
    }

    async fn list(&self, call: Call, user: &UserId, after: Option<&JobId>, limit: usize) -> Result<JobPage, Problem> {
        let answer = self.vault.list(&call.caller, user, after, limit).await;
        self.hand_out(answer, call.entry(Act::List).tenant(&call.caller.tenant).user(user)).await
    }
}

impl Call {
    /// A line about this call. From now on nobody else needs to write one.
    fn entry(&self, act: Act) -> Entry {
        self.reached.0.store(true, Ordering::Release);
        let Caller { module, .. } = &self.caller;
        Entry::new(act, Actor::Module(module.to_string()), "ok").request(&*self.request_id)
    }
}

fn registration(mut entry: Entry, registered: &Registered) -> Entry {
    if !registered.created {
        entry.act = Act::Amend;
    }
    let acquisition = acquisition(registered.job.acquisition);
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

fn acquisition(acquisition: Acquisition) -> &'static str {
    match acquisition {
        Acquisition::Exchange => "exchange",
        Acquisition::Impersonate => "impersonate",
        Acquisition::Adopt => "adopt",
    }
}

/// The same line, for a refusal: its code, and the check or reason it names.
fn refused(mut entry: Entry, problem: &Problem) -> Entry {
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

/// Whether a request came to a use case, which writes its line itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Reached(Arc<AtomicBool>);

/// Records requests about jobs that were refused before they came to a use case: by an unknown certificate, a policy, a
/// malformed body. One that was refused for being one of too many is counted, and leaves no line: that would be the next
/// flood.
pub(super) async fn refusals(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let Some(act) = act_of(&request) else { return next.run(request).await };
    let reached = Reached::default();
    request.extensions_mut().insert(reached.clone());
    let (uri, tenant) = (request.uri().clone(), request.headers().get(TENANT).cloned());
    let (id, module) = (request.extensions().get::<RequestId>().cloned(), module_of(&app, &request));
    let response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().filter(|problem| problem.code != Code::TooManyRequests);
    if let (Some(problem), false) = (problem, reached.0.load(Ordering::Acquire)) {
        let actor = module.map_or(Actor::Unknown, |module| Actor::Module(module.to_string()));
        let mut entry = refused(Entry::new(act, actor, "refused"), problem);
        entry.request_id = id.map(|id| id.to_string());
        let job = uri.path().strip_prefix("/tokens/").and_then(|job| JobId::parse(job).ok());
        entry.tenant = tenant.and_then(|name| TenantId::parse(name.to_str().ok()?).ok());
        if let (Some(tenant), Some(job)) = (entry.tenant.clone(), job) {
            entry.job = Some(JobKey::new(tenant, job));
        }
        app.journal.record(entry);
    }
    response
}

fn act_of(request: &Request) -> Option<Act> {
    let route = request.extensions().get::<MatchedPath>()?.as_str();
    match (route, request.method()) {
        // A HEAD is a GET whose answer has no body.
        ("/tokens", &(Method::GET | Method::HEAD)) => Some(Act::List),
        ("/tokens/{job_id}", &(Method::GET | Method::HEAD)) => Some(Act::Read),
        ("/tokens/{job_id}", &Method::PUT) => Some(Act::Register),
        ("/tokens/{job_id}", &Method::DELETE) => Some(Act::Release),
        _ => None,
    }
}
