//! What comes after a step: what its answer says of Keycloak, and after its write what became of the job, for metrics, logs,
//! the journal and the indexes.

use std::time::Duration;

use tokenvault_core::policy::{JobEvent, KeycloakReply, Obligations, Turn};
use tokenvault_core::record::Record;

use super::leased_round::{GivenUp, LeasedRound};
use crate::journal::{Act, Actor, Entry};
use crate::observer::DoubtOutcome;
use crate::replica::Progression;
use crate::store_news::not_done;

impl LeasedRound<'_> {
    /// What an outcome says of its tenant's Keycloak, and of the client.
    pub(super) fn note_reply(&self, record: &Record, owed: Obligations) {
        let (services, client) = (&self.context.services, self.client(record));
        self.permit.note(owed.reply);
        if owed.reply == KeycloakReply::ClientRejected {
            self.context.log_rejected_client(&client);
            self.context.waiting.add(&record.key);
        }
        match owed.may_exchange {
            Some(true) => services.replica.exchange.granted(&client),
            Some(false) => services.replica.exchange.refused(&client, services.clock.now()),
            None => {}
        }
    }

    /// Reports how a step went, whether or not it could be written.
    pub(super) fn report_step(&self, turn: &Turn, took: Duration, written: &Result<(), GivenUp>) {
        if let Some(code) = turn.code {
            self.context.services.observer.renewal_step(turn.step.code(), code, took);
            tracing::debug!(step = turn.step.code(), outcome = code, generation = %turn.before.generation, "a step of a renewal");
        }
        if turn.owed.conflict_means_overload && matches!(written, Err(GivenUp::Conflict)) {
            self.permit.note(KeycloakReply::NoAnswer);
        }
    }

    /// After the write: tells whoever watches what became of the job, and does what follows from its end.
    pub(super) async fn follow_up(&mut self, turn: &Turn) {
        let services = &self.context.services;
        services.replica.seen.note(&turn.after().key, Progression::of(turn.after()));
        if turn.owed.returns_permit {
            self.spend_permit = None;
        }
        for event in turn.events() {
            self.audit(turn, event);
        }
        if turn.ending().is_some() {
            self.supersede_session(turn).await;
            services.update_share(&turn.before, turn.after()).await;
        }
        if turn.ending().is_some() && turn.has_ended() {
            services.remove_from_indexes(&turn.before).await;
        }
        self.held_shutdown = None;
    }

    /// Metrics, logs and the journal; never waits.
    fn audit(&self, turn: &Turn, event: JobEvent) {
        let (observer, before, after) = (&self.context.services.observer, &turn.before, turn.after());
        match event {
            JobEvent::Renewed => {
                let detail = format!("{}, generation {}", turn.step.code(), after.generation);
                self.record_act(after, Act::Renew, "ok", Some(detail));
            }
            JobEvent::DoubtBegun => {
                observer.doubt(DoubtOutcome::Begun);
                tracing::info!(
                    seconds = self.rules.renewal.doubt.as_secs(),
                    "Keycloak says that the session is over; it is asked again before the job ends"
                );
            }
            JobEvent::DoubtLifted => {
                observer.doubt(DoubtOutcome::Lifted);
                tracing::info!("the session lives after all");
            }
            JobEvent::DoubtConfirmed => observer.doubt(DoubtOutcome::Confirmed),
            JobEvent::Suspended(why) => {
                observer.suspended(why);
                self.record_act(after, Act::Suspend, why.code(), None);
                tracing::info!(reason = why.code(), "the job is suspended");
            }
            JobEvent::Resumed => tracing::info!("the job goes on"),
            JobEvent::Ended(reason) => {
                observer.ended(reason);
                self.record_act(before, Act::End, reason.code(), None);
                tracing::info!(reason = reason.code(), "the job ended");
            }
        }
    }

    fn record_act(&self, record: &Record, act: Act, outcome: &'static str, detail: Option<String>) {
        let mut entry = Entry::new(act, Actor::Vault, outcome).of(&record.key).user(&record.user);
        entry.session = record.session.as_ref().map(|session| session.sid.clone());
        entry.detail = detail;
        self.context.services.journal.record(entry);
    }

    /// Marks a client session that is over while the user's is not.
    async fn supersede_session(&self, turn: &Turn) {
        let Some(session) = turn.superseded_session() else { return };
        let key = turn.before.session_key_of(session);
        if let Err(error) = self.context.services.store.supersede_session(&key, session.incarnation).await {
            not_done(&error, "the end of a client session could not be noted");
        }
    }
}
