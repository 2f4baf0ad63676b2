//! Who shares the client sessions of a record's pairs.
//!
//! An access token from an earlier life of its client session, sent for exchange, ends the user's whole session. A client
//! session is created anew only by somebody's exchange, and whoever exchanges has joined the session's entry before. So the
//! entry is read before the probe and again right before the exchange: where it changed in between, the probe's answer is
//! not believed, and while somebody is joining, nothing is exchanged.

use std::time::Duration;

use tokenvault_core::ids::JobId;
use tokenvault_core::policy::Round;
use tokenvault_core::ports::{SessionEntry, StoreError};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use crate::parts::Parts;

/// How long the exchange of a registration that vanished may still be under way.
const JOINING: Duration = Duration::from_secs(30);

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

    /// Tells the round what is known.
    pub(super) fn tell(&self, round: &mut Round, job: &JobId, now: Timestamp) {
        let incarnation = |entry: &Option<SessionEntry>| entry.as_ref().map(|entry| entry.incarnation);
        let joining = |entry: &Option<SessionEntry>| {
            let mut joining = entry.iter().flat_map(|entry| &entry.joining);
            joining.any(|(other, since)| other != job && now < *since + JOINING)
        };
        let [own, anchor] = &self.0;
        (round.incarnation, round.anchor_incarnation) = (incarnation(own), incarnation(anchor));
        (round.joining, round.anchor_joining) = (joining(own), joining(anchor));
    }
}

fn sorted(mut entry: SessionEntry) -> SessionEntry {
    entry.jobs.sort_unstable();
    entry
}
