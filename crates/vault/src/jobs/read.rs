//! Read: a live access token, from the store alone.

use std::time::Duration;

use tokenvault_core::ids::{JobId, JobKey};
use tokenvault_core::policy::{Ask, Serve, due_once_read, logging_out, serve};
use tokenvault_core::record::{EndKind, EndReason, ReadView, State, Terms};
use tokenvault_core::time::Timestamp;

use super::{Caller, LiveToken, ReadAnswer, ReadRequest, Vault, altered, seal_problem, store_problem};
use crate::problem::{Code, Problem};
use crate::replica::Progression;

/// How often a waiting read looks at the store: another replica may be the one that renews.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Vault {
    /// A live access token of a job, waiting for a renewal that is needed or under way. Starts none of its own: it makes
    /// the job due and wakes the reconciler.
    pub async fn read(&self, caller: &Caller, job: &JobId, request: ReadRequest) -> Result<ReadAnswer, Problem> {
        let started = self.services.clock.now();
        let answer = self.read_until(caller, job, request, started + request.wait).await;
        let took = self.services.clock.now().since(started);
        match &answer {
            Ok(ReadAnswer::Token(token)) => self.services.observer.read("token", took, Some(token.expires_in)),
            Ok(ReadAnswer::NotModified(_)) => self.services.observer.read("not_modified", took, None),
            Err(problem) => self.services.observer.read(problem.code.as_str(), took, None),
        }
        answer
    }

    async fn read_until(
        &self,
        caller: &Caller,
        job: &JobId,
        request: ReadRequest,
        deadline: Timestamp,
    ) -> Result<ReadAnswer, Problem> {
        let (mut waiting, mut rolled_back, mut overtaken) = (None, false, false);
        loop {
            let view = self.readable(caller, job).await?;
            let now = self.services.clock.now();
            let ask = Ask { min_ttl: request.min_ttl, default_min_ttl: self.options.default_min_ttl };
            match serve(&view, &ask, now) {
                Serve::Token(left) if self.is_newest(&view) => {
                    self.note_first_read(&view, now).await;
                    return self.token(job, &view, left, request);
                }
                Serve::Token(_) => {
                    let back = self.is_rolled_back(&view, &mut rolled_back).await?;
                    // Else it was renewed while this record was on its way. That happens once; a store that shows now one record
                    // and now another is not asked on at that pace.
                    if !back && !std::mem::replace(&mut overtaken, true) {
                        continue;
                    }
                }
                Serve::TooDemanding(most) => return Err(too_demanding(most)),
                Serve::Ended(reason) => return Err(ended(reason)),
                Serve::Renew => {}
            }
            if now >= deadline || self.stop.is_cancelled() {
                return Err(not_ready(&view, self.available(&view, now)));
            }
            // After a failure the record has a due time of its own, which readers are not to hurry: while Keycloak is
            // away, their number must not become the number of attempts.
            let scheduled = view.renew_at.max(view.due_at).is_some_and(|at| at > now);
            // What is suspended, or was put off though it is to be renewed, is looked at once for each read; asking on would be
            // asking as fast as Keycloak answers.
            let put_off = view.renew_at.is_none_or(|at| at <= now);
            let asked = waiting.is_some() && (view.state != State::Active || put_off);
            let ending = view.is_in_doubt || logging_out(view.announced_at, now).is_some();
            let patient = asked || view.failures > 0 || ending;
            if scheduled && view.leased_until.is_none() && !patient {
                self.services.store.make_due(&view.terms.key, now, now).await.map_err(store_problem)?;
                self.services.wake.due();
            }
            // The first to wait looks once more: what was renewed before it waited is not told again.
            let Some(waiting) = &mut waiting else {
                waiting = Some(self.services.wake.wait_for(&view.terms.key));
                continue;
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {}
                () = waiting.until_renewed() => {}
                () = tokio::time::sleep(LOOK_AGAIN.min(deadline.since(now))) => {}
            }
        }
    }

    /// A pair that nobody had read waits longer for its renewal. Now it is read, and is renewed at the usual time. What fails here
    /// is done by the next read, or not at all: the pair is then renewed a little later.
    async fn note_first_read(&self, view: &ReadView, now: Timestamp) {
        let (key, services) = (&view.terms.key, &self.services);
        let is_well = view.state == State::Active && view.failures == 0 && !view.is_lost && !view.is_in_doubt;
        let is_late = view.due_at > view.renew_at && is_well;
        // Who has it in hand renews it.
        if !is_late || view.leased_until.is_some() {
            return;
        }
        // Many read at the same time what one of them brings forward.
        let Some(_turn) = self.first_reads.begin(key) else { return };
        let Ok(Some(stored)) = services.store.load(key).await else { return };
        let settings = services.tenants.settings(&key.tenant);
        let Some(due) = due_once_read(&stored.record, &settings, now).filter(|_| stored.leased_until.is_none()) else {
            return;
        };
        if services.store.make_due(key, due, due).await.is_ok() && due <= now {
            services.wake.due();
        }
    }

    /// Whether the job was seen no further than this.
    fn is_newest(&self, view: &ReadView) -> bool {
        self.services.replica.seen.further_than(&view.terms.key, Progression::of_view(view)).is_none()
    }

    /// Whether the store has lost writes, or somebody has put an old record back. It is renewed before it is served. Told once a
    /// read.
    async fn is_rolled_back(&self, view: &ReadView, told: &mut bool) -> Result<bool, Problem> {
        let key = &view.terms.key;
        if !self.services.is_rolled_back(key, Progression::of_view(view)).await.map_err(store_problem)? {
            return Ok(false);
        }
        if !std::mem::replace(told, true) {
            self.services.observer.rolled_back();
            tracing::warn!(tenant = %key.tenant, job = %key.job, generation = %view.generation, "a record is older than it was; it is renewed before it is served");
        }
        Ok(true)
    }

    /// What is left of a token that lives, but not for as long as was asked for.
    fn available(&self, view: &ReadView, now: Timestamp) -> Option<Duration> {
        let least = Ask { min_ttl: Some(Duration::ZERO), default_min_ttl: Duration::ZERO };
        match serve(view, &least, now) {
            Serve::Token(left) if self.is_newest(view) => Some(left),
            _ => None,
        }
    }

    /// What is to be read for a job the caller may read: its own record, or its parent's.
    async fn readable(&self, caller: &Caller, job: &JobId) -> Result<ReadView, Problem> {
        let key = JobKey::new(caller.tenant.clone(), job.clone());
        let view = self.view(&key).await?.ok_or_else(not_found)?;
        if !view.terms.may_read(&caller.module) {
            return Err(self.end_of_child(caller, &view).await?.map_or_else(not_found, ended));
        }
        let Some(parent) = view.terms.parent.clone() else { return Ok(view) };
        if let Some(reason) = view.state.end() {
            return Err(ended(reason));
        }
        if self.services.clock.now() >= view.terms.expires_at {
            return Err(ended(EndReason::Expired));
        }
        let parent = self.view(&JobKey::new(caller.tenant.clone(), parent)).await?;
        // A parent's id may come to name another job once its tombstone is gone, and that one may be another user's.
        let parent =
            parent.filter(|parent| same_user(&parent.terms, &view.terms)).ok_or_else(|| ended(EndReason::Released))?;
        // Nobody reads through a child what they may not read, or may no longer read, by themselves.
        if parent.terms.may_read(&caller.module) { Ok(parent) } else { Err(not_found()) }
    }

    /// Why a child ended whose readers are forgotten. It is told to whoever may read its parent, for they were among those.
    async fn end_of_child(&self, caller: &Caller, child: &ReadView) -> Result<Option<EndReason>, Problem> {
        let (Some(reason), Some(parent)) = (child.state.end(), &child.terms.parent) else { return Ok(None) };
        let parent = self.view(&JobKey::new(caller.tenant.clone(), parent.clone())).await?;
        let told =
            parent.is_some_and(|parent| parent.terms.user == child.terms.user && parent.terms.may_read(&caller.module));
        Ok(told.then_some(reason))
    }

    async fn view(&self, key: &JobKey) -> Result<Option<ReadView>, Problem> {
        self.check_available(key)?;
        let view = self.services.store.read(key).await.map_err(store_problem)?;
        if let Some(view) = &view {
            self.services.verify_terms_of_view(view).map_err(altered)?;
        }
        Ok(view)
    }

    fn token(&self, job: &JobId, view: &ReadView, left: Duration, request: ReadRequest) -> Result<ReadAnswer, Problem> {
        let (key, user) = (&view.terms.key, &view.terms.user);
        let access_token = self.services.sealer_for(key, user).open_access_of_view(view).map_err(|error| {
            let error = self.services.seal_failed(error);
            tracing::error!(%error, tenant = %key.tenant, job = %key.job, "a sealed access token does not open");
            seal_problem(error, "The stored token could not be opened.")
        })?;
        // Its seal says that it is of this generation; before it opened, nothing had.
        self.services.replica.seen.note(key, Progression::of_view(view));
        if request.known == Some(view.generation) {
            return Ok(ReadAnswer::NotModified(view.generation));
        }
        let (expires_at, scope) =
            view.access.as_ref().map(|access| (access.expires_at, access.scope.clone())).unwrap_or_default();
        Ok(ReadAnswer::Token(LiveToken {
            access_token,
            expires_in: left,
            expires_at,
            scope,
            user_id: user.clone(),
            job_id: job.clone(),
            generation: view.generation,
        }))
    }
}

/// Whether two jobs are one user's. The user id claim may be one that users write; what Keycloak calls the user is compared as
/// well where both records say it.
fn same_user(one: &Terms, other: &Terms) -> bool {
    let accounts = one.account.as_ref().zip(other.account.as_ref());
    one.user == other.user && accounts.is_none_or(|(one, other)| one == other)
}

fn not_found() -> Problem {
    Problem::new(Code::JobNotFound, "There is no such job, or it is not the caller's to read.")
}

/// What a reader is told about a job that is over.
pub(super) fn ended(reason: EndReason) -> Problem {
    let (code, detail) = match reason.kind() {
        EndKind::Job => (Code::JobEnded, "The job is over; no more tokens are given out for it."),
        EndKind::Session => (Code::SessionEnded, "The user's session at the identity provider has ended."),
        EndKind::Reauth => {
            (Code::ReauthRequired, "The vault has no usable grant any more; the user must start the job again.")
        }
    };
    Problem::new(code, detail).with("reason", reason.code())
}

fn too_demanding(most: Duration) -> Problem {
    Problem::new(Code::MinTtlUnsatisfiable, format!("At most {} s can be promised.", most.as_secs()))
        .with("max_ttl", most.as_secs())
}

fn not_ready(view: &ReadView, available: Option<Duration>) -> Problem {
    let detail = match available.map(|left| left.as_secs()) {
        Some(left) => {
            format!("The token is being renewed; ask again. One that has {left} s left is there for a smaller min_ttl.")
        }
        None => "The token is being renewed; ask again.".to_owned(),
    };
    let problem = Problem::new(Code::TokenNotReady, detail);
    match view.state {
        State::Suspended(why) => problem.with("reason", why.code()).retry_after(Duration::from_secs(30)),
        _ => problem,
    }
}
