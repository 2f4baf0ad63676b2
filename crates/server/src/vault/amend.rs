//! Registering a live job again: its readers, its end and a tighter `on_logout` are replaced; its pair is untouched.

use tokenvault_core::ports::{Write, Written};
use tokenvault_core::record::{OnLogout, Record};

use super::register::Terms;
use super::{Registered, Registration, Vault, store_problem, view};
use crate::problem::{Code, Problem};

impl Vault {
    /// The answer to a repeated registration, if the record still stands as it was seen; `None` if it changed meanwhile.
    pub(super) async fn amend(
        &self,
        before: &Record,
        request: &Registration,
        terms: &Terms,
    ) -> Result<Option<Registered>, Problem> {
        let mut after = before.clone();
        if let Some(readers) = &request.readers {
            after.readers.clone_from(readers);
        }
        if request.expires_at.is_some() {
            after.expires_at = terms.expires_at;
            after.keep_until = terms.keep_until;
            // A child is due at its end; a job with a pair of its own is due no later than that.
            after.due_at = if after.parent.is_some() {
                Some(after.expires_at)
            } else {
                after.due_at.map(|due| due.min(after.expires_at))
            };
        }
        match (before.on_logout, request.on_logout) {
            (OnLogout::Revoke, Some(OnLogout::Continue)) => {
                return Err(Problem::new(Code::Unsupported, "on_logout can only be tightened."));
            }
            (OnLogout::Continue, Some(OnLogout::Revoke)) => {
                // There is no pair in the user's session to watch it by.
                return Err(Problem::new(
                    Code::Unsupported,
                    "This job was registered to survive the logout; release it and register it anew.",
                ));
            }
            _ => {}
        }
        if after != *before {
            let write = Write::between(before, &after, self.parts.attempt());
            match self.parts.write(&write).await.map_err(store_problem)? {
                Written::Done | Written::AlreadyDone => {}
                Written::Conflict | Written::Gone => return Ok(None),
            }
        }
        Ok(Some(Registered { created: false, job: view(&after) }))
    }
}
