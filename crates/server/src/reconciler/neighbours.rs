//! Who shares the client sessions of a record's pairs.
//!
//! An access token from an earlier life of its client session, sent for exchange, ends the user's whole session. A client
//! session is created anew only by somebody's exchange, and whoever exchanges has joined the session's entry before: so
//! the entry is read before the probe and again right before the exchange, and where somebody joined in between, the
//! probe's answer is not believed.

use tokenvault_core::ids::Incarnation;
use tokenvault_core::ports::{SessionEntry, StoreError};
use tokenvault_core::record::Record;

use crate::parts::Parts;

/// The entries of the sessions a record's pair and its anchor live in, as far as they are shared.
#[derive(PartialEq, Eq)]
pub(super) struct Neighbours([Option<SessionEntry>; 2]);

impl Neighbours {
    pub(super) async fn look(parts: &Parts, record: &Record) -> Result<Self, StoreError> {
        let own = record.session.as_ref().filter(|_| !record.owns_session());
        let anchor = record.anchor.as_ref().map(|anchor| &anchor.session);
        let mut entries = [None, None];
        for (entry, session) in entries.iter_mut().zip([own, anchor]) {
            if let Some(session) = session {
                *entry = parts.store.session(&record.session_key_of(session)).await?.map(sorted);
            }
        }
        Ok(Self(entries))
    }

    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        self.0[0].as_ref().map(|entry| entry.incarnation)
    }

    pub(super) fn anchor_incarnation(&self) -> Option<Incarnation> {
        self.0[1].as_ref().map(|entry| entry.incarnation)
    }
}

fn sorted(mut entry: SessionEntry) -> SessionEntry {
    entry.jobs.sort_unstable();
    entry
}
