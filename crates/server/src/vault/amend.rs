//! Registering a live job again: its readers, its end and a tighter `on_logout` are replaced; its pair is untouched.

use tokenvault_core::ids::JobKey;
use tokenvault_core::pair::Kind;
use tokenvault_core::ports::{Write, Written};
use tokenvault_core::record::{self, Anchor, EndReason, OnLogout, Record};

use super::acquire::{Evidence, rejected};
use super::children::{ends_within, may_read, reads};
use super::read::ended;
use super::register::{Terms, Wanted, too_late};
use super::{Caller, Registered, Registration, Vault, store_problem, view};
use crate::problem::{Code, Problem};

impl Vault {
    /// The answer to a repeated registration, if the record still stands as it was seen; `None` if it changed meanwhile.
    pub(super) async fn amend(
        &self,
        caller: &Caller,
        before: &Record,
        request: &Registration,
        terms: &Terms,
    ) -> Result<Option<Registered>, Problem> {
        if request.access_token.is_none() {
            reads(caller)?;
        }
        let mut after = before.clone();
        if let Some(readers) = &request.readers {
            after.readers.clone_from(readers);
        }
        if request.expires_at.is_some() {
            self.prolong(before, terms).await?;
            after.expires_at = terms.expires_at;
            after.keep_until = terms.keep_until;
            // A child is due at its end; a job with a pair of its own is due no later than that.
            after.due_at = if after.parent.is_some() {
                Some(after.expires_at)
            } else {
                after.due_at.map(|due| due.min(after.expires_at))
            };
        }
        if let Some(parent) = &after.parent {
            let parent = self.load(&JobKey::new(after.key.tenant.clone(), parent.clone())).await?;
            let parent = parent.ok_or_else(|| ended(EndReason::Released))?.record;
            // The parent may have been narrowed since. Reads go by that, and what is not asked for anew is left as it is.
            if after.expires_at > before.expires_at {
                ends_within(after.expires_at, &parent)?;
            }
            for module in after.readers.difference(&before.readers) {
                may_read(module, &parent)?;
            }
        }
        match (before.on_logout, request.on_logout) {
            (OnLogout::Revoke, Some(OnLogout::Continue)) => {
                return Err(Problem::new(Code::Unsupported, "on_logout can only be tightened."));
            }
            (OnLogout::Continue, Some(OnLogout::Revoke)) => self.tighten(&mut after, request).await?,
            _ => {}
        }
        if after != *before {
            if after.parent.is_some() && !caller.reads {
                // The parent does not stand in for the proof, so the token has to be one.
                self.prove(&after.key, request.token()?, request.user_id.as_ref()).await?;
            }
            if record::terms(&after) != record::terms(before) {
                after = self.parts.vouched(&after);
            }
            let write = Write::between(before, &after, self.parts.attempt()).on_terms_of(before);
            match self.parts.write(&write).await.map_err(store_problem)? {
                Written::Done | Written::AlreadyDone => {}
                Written::Conflict | Written::Gone => return Ok(None),
            }
            if after.anchor != before.anchor {
                self.parts.settle(&after).await;
            }
        }
        Ok(Some(Registered { created: false, job: view(&after), proven_by: request.proven_by() }))
    }

    /// The longest life is counted from the job's beginning, or a job could be kept for ever by asking again and again. The
    /// entries that gather jobs are to last as long as the record.
    async fn prolong(&self, before: &Record, terms: &Terms) -> Result<(), Problem> {
        let latest = before.created_at + self.rules(&before.key.tenant)?.max_job_life;
        if terms.expires_at > latest {
            return Err(too_late(latest));
        }
        if terms.keep_until <= before.keep_until {
            return Ok(());
        }
        let store = &self.parts.store;
        for session in before.session_keys() {
            store.join_session(&session, &before.key.job, terms.keep_until).await.map_err(store_problem)?;
        }
        self.parts.settle(before).await;
        store.add_to_user(&before.user, &before.key, terms.keep_until).await.map_err(store_problem)
    }

    /// From `continue` to `revoke`: the user's session is to be watched from now on, which takes a pair in it, and for
    /// that a proof that still holds.
    async fn tighten(&self, after: &mut Record, request: &Registration) -> Result<(), Problem> {
        after.on_logout = OnLogout::Revoke;
        if after.parent.is_some() {
            return Ok(());
        }
        let key = after.key.clone();
        let rules = self.rules(&key.tenant)?;
        let token = request.token()?;
        let proof = self.prove(&key, token, request.user_id.as_ref()).await?;
        let wanted = Wanted {
            key: &key,
            rules: &rules,
            acquisition: after.acquisition,
            on_logout: OnLogout::Revoke,
            expires_at: after.expires_at,
            keep_until: after.keep_until,
        };
        let held = self.exchange(&wanted, Evidence { proof: &proof, token }).await?;
        if after.account.is_some() && held.grant.account.is_some() && after.account != held.grant.account {
            // Users may be able to write the claim they are known by; whose session is watched must not hang on that.
            return Err(rejected("user_id_mismatch"));
        }
        let pair = self.parts.sealer(after).seal(&held.grant, Kind::Anchor, after.generation, held.asked_at);
        after.anchor = Some(Anchor { session: held.session, pair });
        Ok(())
    }
}
