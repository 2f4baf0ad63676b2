//! Children: jobs that share the pair of a job they belong to.

use tokenvault_core::ids::{Generation, JobId, JobKey};
use tokenvault_core::ports::Proof;
use tokenvault_core::record::{EndReason, Record};

use super::acquire::rejected;
use super::read::ended;
use super::register::{Terms, blank, readers};
use super::{Caller, Registered, Registration, Vault, store_problem};
use crate::problem::{Code, Problem};

impl Vault {
    /// A child shares its parent's pair: same user, the caller may use the parent, readers and end within the parent's.
    /// It enters its parent before its record is created, and stays entered if that fails: another registration of the
    /// same child may rely on it by then.
    pub(super) async fn child(
        &self,
        caller: &Caller,
        key: &JobKey,
        (request, parent): (&Registration, &JobId),
        proof: &Proof,
        (terms, previous): (&Terms, Option<Generation>),
    ) -> Result<Option<Registered>, Problem> {
        let rules = self.rules(&caller.tenant)?;
        let parent_key = JobKey::new(key.tenant.clone(), parent.clone());
        let parent =
            self.load(&parent_key).await?.map(|stored| stored.record).filter(|parent| parent.may_read(&caller.module));
        let parent = parent.ok_or_else(|| {
            Problem::new(Code::JobNotFound, "There is no such parent job, or it is not the caller's to share.")
        })?;
        let over = parent.state.end().or((self.parts.clock.now() >= parent.expires_at).then_some(EndReason::Expired));
        if let Some(reason) = over {
            return Err(ended(reason));
        }
        if parent.subject != proof.subject || parent.user != proof.user {
            return Err(rejected("parent_of_another_user"));
        }
        let mut record = blank(caller, key, proof, self.parts.clock.now());
        record.acquisition = parent.acquisition;
        record.on_logout = parent.on_logout;
        record.parent = Some(parent_key.job.clone());
        record.readers = readers(request);
        // An end that was not asked for is the parent's; one that was must lie within it.
        record.expires_at =
            if request.expires_at.is_some() { terms.expires_at } else { parent.expires_at.min(terms.expires_at) };
        record.keep_until = record.expires_at + rules.renewal.tombstone_ttl;
        record.due_at = Some(record.expires_at);
        within(&record, &parent)?;
        if !self.parts.store.add_child(&parent_key, &key.job, rules.max_children).await.map_err(store_problem)? {
            return Err(Problem::new(Code::Unsupported, "The parent has as many children as it may have."));
        }
        record.generation = previous.unwrap_or_default().next();
        self.enter(&record, previous).await
    }
}

pub(super) fn within(child: &Record, parent: &Record) -> Result<(), Problem> {
    if parent.parent.is_some() {
        return Err(Problem::new(Code::Unsupported, "A child cannot have children."));
    }
    if child.expires_at > parent.expires_at {
        return Err(Problem::new(Code::ExpiresAtTooLate, "A child ends no later than its parent.")
            .with("latest", parent.expires_at.to_string()));
    }
    let outside = std::iter::once(&child.registrar).chain(&child.readers).find(|module| !parent.may_read(module));
    match outside {
        Some(module) => Err(Problem::new(Code::ActionDenied, format!("{module} may not read the parent job."))),
        None => Ok(()),
    }
}
