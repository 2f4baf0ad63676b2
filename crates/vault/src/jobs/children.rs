//! Children: jobs that share the pair of a job they belong to.
//!
//! A child's parts may begin hours after its parent, from a queue, when no token of the user's is at hand. So its parent may
//! stand in for the proof: it was proven, and whoever may read its token gains nothing by a child. A token that is given is
//! still checked.

use tokenvault_core::ids::{Generation, JobId, JobKey, ModuleName, UserId};
use tokenvault_core::ports::Proof;
use tokenvault_core::record::{EndReason, OnLogout, Record};
use tokenvault_core::time::Timestamp;

use super::acquire::CheckedProof;
use super::read::ended;
use super::refusals::{rejected, store_problem};
use super::register::{NotCreated, blank, readers};
use super::request::Lifetime;
use super::{Caller, Registered, Registration, Vault};
use crate::problem::{Code, Problem};

impl Vault {
    /// A child shares its parent's pair: same user, the caller may use the parent, readers and end within the parent's.
    pub(super) async fn create_child(
        &self,
        caller: &Caller,
        key: &JobKey,
        (request, parent): (&Registration, &JobId),
        (lifetime, previous): (&Lifetime, Option<Generation>),
    ) -> Result<Option<Registered>, Problem> {
        let (proof, parent) = self.could_create_child(caller, key, request, parent).await?;
        let (_, keep_until) = self.ends(request, &parent, lifetime)?;
        self.reserve(&caller.module, &parent.user, key, keep_until).await?;
        let evidence = proof.as_ref().zip(request.access_token.as_ref());
        let evidence = evidence.map(|(proof, token)| CheckedProof { proof, token });
        let created = self.enter_child(caller, key, (request, evidence), &parent, (lifetime, previous)).await;
        self.unless_created((caller, &parent.user), key, keep_until, created).await
    }

    /// When a child ends, and when it may be forgotten: an end that was not asked for is the parent's; one that was must lie
    /// within it.
    fn ends(
        &self,
        request: &Registration,
        parent: &Record,
        lifetime: &Lifetime,
    ) -> Result<(Timestamp, Timestamp), Problem> {
        let asked = request.expires_at.is_some();
        let expires_at = if asked { lifetime.expires_at } else { parent.expires_at.min(lifetime.expires_at) };
        Ok((expires_at, expires_at + self.rules(&parent.key.tenant)?.renewal.tombstone_ttl))
    }

    /// The parent, and what the token proves if one was given, where the caller may have a child of it.
    pub(super) async fn could_create_child(
        &self,
        caller: &Caller,
        key: &JobKey,
        request: &Registration,
        parent: &JobId,
    ) -> Result<(Option<Proof>, Record), Problem> {
        names_no_pair(request)?;
        let proof = if let Some(token) = &request.access_token {
            Some(self.verify_proof(key, token, request.user_id.as_ref()).await?)
        } else {
            reads(caller)?;
            None
        };
        let parent = self.sharable(caller, &JobKey::new(key.tenant.clone(), parent.clone())).await?;
        let of_another = |user: &UserId| *user != parent.user;
        if proof.as_ref().map(|proof| &proof.user).is_some_and(of_another) {
            return Err(another_users());
        }
        if request.user_id.as_ref().is_some_and(of_another) {
            return Err(Problem::new(Code::JobConflict, "The parent is another user's job."));
        }
        same_at_logout(request, &parent)?;
        Ok((proof, parent))
    }

    /// A live job whose token the caller may read.
    async fn sharable(&self, caller: &Caller, key: &JobKey) -> Result<Record, Problem> {
        let parent = self.load(key).await?.map(|stored| stored.record).filter(|parent| parent.may_read(&caller.module));
        let parent = parent.ok_or_else(|| {
            Problem::new(Code::JobNotFound, "There is no such parent job, or it is not the caller's to share.")
        })?;
        let over =
            parent.state.end().or((self.services.clock.now() >= parent.expires_at).then_some(EndReason::Expired));
        match over {
            Some(reason) => Err(ended(reason)),
            None => Ok(parent),
        }
    }

    /// Users may be able to write the claim they are known by, and one who writes another's must not come by their token as
    /// a part of their job. One session has one user; of another session's user an exchange says who it is, where the
    /// parent's is known. The pair is dropped: a child lives by its parent's.
    pub(super) async fn assert_same_account(
        &self,
        caller: &Caller,
        (key, keep_until): (&JobKey, Timestamp),
        evidence: CheckedProof<'_>,
        parent: &Record,
    ) -> Result<(), Problem> {
        let mut sessions = parent.session.iter().chain(parent.anchor.iter().map(|anchor| &anchor.session));
        let together = sessions.any(|session| session.sid == evidence.proof.sid);
        let rules = self.rules(&parent.key.tenant)?;
        match &parent.account {
            Some(account) if !together && rules.user_id_claim != "sub" => {
                let grant = self.exchange_once(self.join_attempt(caller, key, &rules, keep_until), evidence).await?;
                if grant.account.as_ref() == Some(account) { Ok(()) } else { Err(another_users()) }
            }
            _ => Ok(()),
        }
    }

    /// It enters its parent before its record is created, and stays entered if that fails: another registration of the same
    /// child may rely on it by then.
    async fn enter_child(
        &self,
        caller: &Caller,
        key: &JobKey,
        (request, evidence): (&Registration, Option<CheckedProof<'_>>),
        parent: &Record,
        (lifetime, previous): (&Lifetime, Option<Generation>),
    ) -> Result<Option<Registered>, NotCreated> {
        let rules = self.rules(&caller.tenant)?;
        let mut record = blank(caller, key, (&parent.user, &parent.subject), self.services.clock.now());
        record.account.clone_from(&parent.account);
        record.acquisition = parent.acquisition;
        record.on_logout = parent.on_logout;
        record.parent = Some(parent.key.job.clone());
        record.readers = readers(request);
        (record.expires_at, record.keep_until) = self.ends(request, parent, lifetime)?;
        record.due_at = Some(record.expires_at);
        if parent.parent.is_some() {
            return Err(Problem::new(Code::Unsupported, "A child cannot have children.").into());
        }
        ends_within(record.expires_at, parent)?;
        for module in std::iter::once(&record.registrar).chain(&record.readers) {
            may_read(module, parent)?;
        }
        if let Some(evidence) = evidence {
            self.assert_same_account(caller, (key, record.keep_until), evidence, parent).await?;
        }
        if !self.services.store.add_child(&parent.key, &key.job, rules.max_children).await.map_err(store_problem)? {
            return Err(Problem::new(Code::Unsupported, "The parent has as many children as it may have.").into());
        }
        record.generation = previous.unwrap_or_default().next();
        self.create_record(&record, previous, request.proven_by()).await
    }
}

/// A child has no pair of its own.
pub(super) fn names_no_pair(request: &Registration) -> Result<(), Problem> {
    if request.acquisition.is_none() && request.refresh_token.is_none() {
        return Ok(());
    }
    let detail = "A child shares its parent's pair; it names no acquisition and no refresh_token.";
    Err(Problem::new(Code::InvalidRequest, detail))
}

/// A child lives by its parent's pair, so a logout does to it what it does to the parent.
pub(super) fn same_at_logout(request: &Registration, parent: &Record) -> Result<(), Problem> {
    let detail = match (request.on_logout, parent.on_logout) {
        (Some(OnLogout::Continue), OnLogout::Revoke) => "The parent ends at logout, and its children with it.",
        (Some(OnLogout::Revoke), OnLogout::Continue) => {
            "The parent goes on after a logout, and its children share its pair. Tighten the parent, or register a job with a pair of its own."
        }
        _ => return Ok(()),
    };
    Err(Problem::new(Code::Unsupported, detail).with("reason", "child_on_logout"))
}

/// The proof and the job are not the same user's.
fn another_users() -> Problem {
    rejected("parent_of_another_user")
}

/// The parent may stand in for the proof where its token may be read.
pub(super) fn reads(caller: &Caller) -> Result<(), Problem> {
    if caller.reads {
        return Ok(());
    }
    let detail = "Without an access_token a child is for those who may read its parent's.";
    Err(Problem::new(Code::ActionDenied, detail))
}

pub(super) fn ends_within(expires_at: Timestamp, parent: &Record) -> Result<(), Problem> {
    if expires_at <= parent.expires_at {
        return Ok(());
    }
    let problem = Problem::new(Code::ExpiresAtTooLate, "A child ends no later than its parent.");
    Err(problem.with("latest", parent.expires_at.to_string()))
}

pub(super) fn may_read(module: &ModuleName, parent: &Record) -> Result<(), Problem> {
    if parent.may_read(module) {
        return Ok(());
    }
    Err(Problem::new(Code::ActionDenied, format!("{module} may not read the parent job.")))
}
