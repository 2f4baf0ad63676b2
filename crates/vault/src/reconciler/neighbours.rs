//! Who shares the client sessions of a record's pairs.
//!
//! An access token from an earlier life of its client session, sent for exchange, ends the user's whole session. A client
//! session is created anew only by somebody's exchange, and whoever exchanges has joined the session's entry before. So the
//! entry is looked at before the probe and again right before the exchange: where somebody has joined in between, the probe's
//! answer is not believed, and while somebody is joining, nothing is exchanged. A renewal that is kept waiting by that holds the
//! session, so that it does not wait for ever (`tokenvault_core::ports::HOLD`).

use tokenvault_core::policy::Findings;
use tokenvault_core::ports::{SessionLook, StoreError};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use crate::services::Services;

/// What was seen of the sessions a record's pair and its anchor live in, as far as they are shared.
#[derive(Default, PartialEq, Eq)]
pub(super) struct SessionPeers([Option<SessionLook>; 2]);

impl SessionPeers {
    pub(super) async fn look(services: &Services, record: &Record, now: Timestamp) -> Result<Self, StoreError> {
        let own = record.session.as_ref().filter(|_| !record.owns_session());
        let anchor = record.anchor.as_ref().map(|anchor| &anchor.session);
        // Until the pair is to be replaced nothing is exchanged, and where the tenant's client may not, nothing at all.
        let exchanges = record.renew_at.is_none_or(|renew_at| renew_at <= now)
            && services.tenants.settings(&record.key.tenant).may_exchange;
        let mut looks = [None, None];
        for (look, session) in looks.iter_mut().zip([own, anchor]) {
            if let Some(session) = session {
                *look =
                    services.store.look_at_session(&record.session_key_of(session), &record.key.job, exchanges).await?;
            }
        }
        Ok(Self(looks))
    }

    /// Notes what was seen in a round's findings.
    pub(super) fn note_in(&self, findings: &mut Findings) {
        let incarnation = |look: &Option<SessionLook>| look.as_ref().map(|look| look.incarnation);
        let joining = |look: &Option<SessionLook>| look.as_ref().is_some_and(|look| look.joining);
        let [own, anchor] = &self.0;
        (findings.incarnation, findings.anchor_incarnation) = (incarnation(own), incarnation(anchor));
        (findings.joining, findings.anchor_joining) = (joining(own), joining(anchor));
    }
}
