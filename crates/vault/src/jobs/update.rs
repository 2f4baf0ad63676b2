//! Registering a live job again: its readers, its end and a tighter `on_logout` are replaced; its pair is untouched.

use tokenvault_core::ids::{AttemptId, JobKey, ModuleName};
use tokenvault_core::pair::Kind;
use tokenvault_core::ports::Write;
use tokenvault_core::record::{self, Acquisition, Anchor, EndReason, OnLogout, Record};
use tokenvault_core::time::Timestamp;

use super::acquire::CheckedProof;
use super::children::{ends_within, may_read, names_no_pair, reads, same_at_logout};
use super::read::ended;
use super::refusals::{ordinary, privileged, rejected, store_problem};
use super::request::{CheckedRequest, Lifetime, may_acquire, too_late};
use super::{Caller, Registered, Registration, Vault, view};
use crate::problem::{Code, Problem};

/// What a repeated registration would change of a job.
struct Change {
    after: Record,
    /// Names the attempt to join the user's session, where the job came to be watched there.
    joined: Option<AttemptId>,
}

impl Vault {
    /// The answer to a repeated registration, if the record still stands as it was seen; `None` if it changed meanwhile.
    ///
    /// Whoever repeats it has shown nothing but that they are the registrar. So they hear the same again, may shorten the job and
    /// take readers out; a later end and a new reader take what a new registration takes.
    pub(super) async fn update(
        &self,
        caller: &Caller,
        before: &Record,
        request: &Registration,
        lifetime: &Lifetime,
    ) -> Result<Option<Registered>, Problem> {
        if request.access_token.is_none() {
            reads(caller)?;
        }
        assert_kept(before, request)?;
        let parent = match &before.parent {
            Some(parent) => {
                let parent = self.load(&JobKey::new(before.key.tenant.clone(), parent.clone())).await?;
                Some(parent.ok_or_else(|| ended(EndReason::Released))?.record)
            }
            None => None,
        };
        let mut after = self.narrowed(before, request, lifetime)?;
        let added: Vec<ModuleName> = after.readers.iter().filter(|module| !before.may_read(module)).cloned().collect();
        let later = after.expires_at > before.expires_at;
        if later || !added.is_empty() {
            match &parent {
                Some(parent) => self.may_widen_child(caller, before, parent, request).await?,
                None => self.may_widen(caller, before, request).await?,
            }
        }
        if let Some(parent) = &parent {
            // The parent may have been narrowed since. Reads go by that, and what is not asked for anew is left as it is.
            if later {
                ends_within(after.expires_at, parent)?;
            }
            for module in &added {
                may_read(module, parent)?;
            }
            // A logout does to a child what it does to its parent.
            same_at_logout(request, parent)?;
            after.on_logout = parent.on_logout;
        }
        if after.keep_until > before.keep_until {
            self.keep_entries(before, after.keep_until).await?;
        }
        let mut change = Change { after, joined: None };
        match (before.on_logout, request.on_logout) {
            _ if parent.is_some() => {}
            (OnLogout::Revoke, Some(OnLogout::Continue)) => {
                return Err(Problem::new(Code::Unsupported, "on_logout can only be tightened."));
            }
            (OnLogout::Continue, Some(OnLogout::Revoke)) => self.tighten(caller, &mut change, request).await?,
            _ => {}
        }
        let written = self.write_change(before, &mut change).await;
        if let (Some(attempt), Some(anchor)) = (change.joined, &change.after.anchor) {
            match &written {
                Ok(true) => self.services.finish_join(&change.after, attempt).await,
                Ok(false) => {
                    let session = before.session_key_of(&anchor.session);
                    let _ = self.services.store.withdraw_session(&session, &before.key.job, attempt).await;
                }
                // The write may have been done.
                Err(_) => {}
            }
        }
        Ok(written?.then(|| Registered { created: false, job: view(&change.after), proven_by: request.proven_by() }))
    }

    /// Whether the record is now as it is to be; it is not where it changed meanwhile.
    async fn write_change(&self, before: &Record, change: &mut Change) -> Result<bool, Problem> {
        if change.after == *before {
            return Ok(true);
        }
        if record::terms(&change.after) != record::terms(before) {
            change.after = self.services.with_sealed_terms(&change.after);
        }
        let write = Write::between(before, &change.after, self.services.attempt()).on_terms_of(before);
        let written = self.services.write(&write).await.map_err(store_problem)?;
        if written.is_done() {
            self.services.update_share(before, &change.after).await;
        }
        Ok(written.is_done())
    }

    /// The record with the readers and the end that are asked for.
    fn narrowed(&self, before: &Record, request: &Registration, lifetime: &Lifetime) -> Result<Record, Problem> {
        let mut after = before.clone();
        if let Some(readers) = &request.readers {
            after.readers.clone_from(readers);
        }
        if request.expires_at.is_some() {
            // The longest life is counted from the job's beginning, or a job could be kept for ever by asking again and again.
            let latest = before.created_at + self.rules(&before.key.tenant)?.max_job_life;
            if lifetime.expires_at > latest {
                return Err(too_late(latest));
            }
            after.expires_at = lifetime.expires_at;
            after.keep_until = lifetime.keep_until;
            // A child is due at its end; a job with a pair of its own is due no later than that.
            after.due_at = if after.parent.is_some() {
                Some(after.expires_at)
            } else {
                after.due_at.map(|due| due.min(after.expires_at))
            };
        }
        Ok(after)
    }

    /// Whether the caller may have more of a job than it has: by a proof of the same user, whose session lives as far as Keycloak
    /// can be asked, and by the right to such a job.
    async fn may_widen(&self, caller: &Caller, before: &Record, request: &Registration) -> Result<(), Problem> {
        let rules = self.rules(&before.key.tenant)?;
        may_acquire(caller, before.acquisition, &rules)?;
        let token = request.token()?;
        let proof = self.verify_proof(&before.key, token, Some(&before.user)).await?;
        let evidence = CheckedProof { proof: &proof, token };
        // The client that an adopted token was issued to is not told of it by Keycloak. There the job lives and dies with its
        // session.
        if before.acquisition != Acquisition::Adopt {
            let privilege = self.assert_live(&rules.client, evidence).await?;
            if before.acquisition == Acquisition::Impersonate {
                if proof.privileged {
                    return Err(privileged());
                }
                ordinary(privilege)?;
            }
        }
        self.assert_same_account(caller, (&before.key, before.keep_until), evidence, before).await
    }

    /// The same of a child: its parent stands in for the proof where the caller may read it.
    async fn may_widen_child(
        &self,
        caller: &Caller,
        before: &Record,
        parent: &Record,
        request: &Registration,
    ) -> Result<(), Problem> {
        may_read(&caller.module, parent)?;
        if let Some(reason) = parent.state.end() {
            return Err(ended(reason));
        }
        if let Some(token) = &request.access_token {
            let proof = self.verify_proof(&before.key, token, Some(&before.user)).await?;
            let evidence = CheckedProof { proof: &proof, token };
            return self.assert_same_account(caller, (&before.key, before.keep_until), evidence, parent).await;
        }
        reads(caller)
    }

    /// The entries that gather jobs are to last as long as the record.
    async fn keep_entries(&self, before: &Record, keep_until: Timestamp) -> Result<(), Problem> {
        let store = &self.services.store;
        for session in before.session_keys() {
            store.enter_session(&session, &before.key.job, keep_until).await.map_err(store_problem)?;
        }
        store.add_to_user(&before.user, &before.key, keep_until).await.map_err(store_problem)
    }

    /// From `continue` to `revoke`: the user's session is to be watched from now on, which takes a pair in it, and for
    /// that a proof that still holds.
    async fn tighten(&self, caller: &Caller, change: &mut Change, request: &Registration) -> Result<(), Problem> {
        let after = &mut change.after;
        after.on_logout = OnLogout::Revoke;
        let key = after.key.clone();
        let rules = self.rules(&key.tenant)?;
        let token = request.token()?;
        let proof = self.verify_proof(&key, token, request.user_id.as_ref()).await?;
        let way = self.join_attempt(caller, &key, &rules, after.keep_until);
        let (acquisition, expires_at) = (after.acquisition, after.expires_at);
        let wanted = CheckedRequest { way, acquisition, on_logout: OnLogout::Revoke, expires_at };
        let held = self.exchange(&wanted, CheckedProof { proof: &proof, token }).await?;
        if after.account.is_some() && held.grant.account.is_some() && after.account != held.grant.account {
            // Users may be able to write the claim they are known by; whose session is watched must not hang on that.
            self.undo_join(way, &held.session).await;
            return Err(rejected("user_id_mismatch"));
        }
        let pair = self.services.sealer(after).seal(&held.grant, Kind::Anchor, after.generation, held.asked_at);
        after.anchor = Some(Anchor { session: held.session, pair });
        change.joined = Some(way.attempt);
        Ok(())
    }
}

/// What a repetition asks for and cannot have is refused: how the pair was come by, and whose it is shared with, stays as it was.
fn assert_kept(before: &Record, request: &Registration) -> Result<(), Problem> {
    if before.parent.is_some() {
        return names_no_pair(request);
    }
    if request.acquisition.is_some_and(|asked| asked != before.acquisition) {
        return Err(Problem::new(Code::Unsupported, "The job's acquisition stays what it was registered with.")
            .with("reason", "acquisition_differs"));
    }
    if request.refresh_token.is_some() && before.acquisition != Acquisition::Adopt {
        return Err(Problem::new(Code::Unsupported, "A refresh_token is taken for adopt only."));
    }
    Ok(())
}
