//! One claimed record: plan a step, carry it out, apply what came of it, write, until the plan says rest.

use std::time::Duration;

use tokenvault_core::policy::{Moment, Outcome, Progress, Settings, Step, apply, plan, urgency};
use tokenvault_core::ports::{CallError, Claimed, Client, GrantError, Identity, Lease, Refusal, StoreError, Write};
use tokenvault_core::record::{EndReason, Record, Slot, State};
use tokio::sync::OwnedSemaphorePermit;

use super::Reconciler;
use super::commit::Answer;
use super::neighbours::Neighbours;
use super::traffic::Pass;
use crate::jitter::roll;
use crate::journal::{Act, Actor, Entry};
use crate::observer::DoubtOutcome;
use crate::store_news::not_done;
use crate::tenants::TenantRules;

/// More steps than any plan takes; a guard against a plan that does not end.
const MOST_STEPS: usize = 24;

/// How long a record that found no place is left alone, more or less.
const PUT_BACK: Duration = Duration::from_secs(2);

/// Why a round was given up. The record comes up again.
#[derive(Debug, thiserror::Error)]
pub(super) enum GivenUp {
    #[error("the lease was lost")]
    LeaseLost,
    #[error("the record changed in the meantime")]
    Conflict,
    #[error("a token of the record does not open here")]
    Sealed,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Reconciler {
    /// Renews a claimed record.
    pub(super) async fn renew(&self, claimed: Claimed) {
        let Claimed { lease, record, .. } = claimed;
        if self.services.vouch(&record).is_err() {
            // It comes up again at the lease's end: perhaps an operator has put it right by then.
            return;
        }
        let Some(rules) = self.services.tenants.get(&record.key.tenant) else {
            return self.leave_alone(&record, &lease).await;
        };
        let span =
            tracing::info_span!("renew", tenant = %record.key.tenant, job = %record.key.job, fence = %lease.fence);
        let record = match self.newest(record).await {
            Ok(record) => record,
            Err(error) => {
                not_done(&error, "the renewal was given up");
                return self.stranded.add(lease);
            }
        };
        let dies_at = record.pair.as_ref().map(|pair| pair.access_expires_at);
        let (now, patience) = (self.services.clock.now(), self.options.lease / 3);
        let Some(pass) = self.traffic.enter(&record.key.tenant, dies_at, now, patience).await else {
            return self.put_back(&record, &lease).await;
        };
        let late = record.renew_at.is_none_or(|renew_at| renew_at <= now).then_some(now);
        let round = Renewal { reconciler: self, rules: &rules, lease: &lease, pass: &pass };
        let logged = tracing::Instrument::instrument(round.run(record), span.clone());
        let result = tracing::Instrument::instrument(logged, crate::spans::renewal()).await;
        let _entered = span.enter();
        // One that takes no writes is there: what it refused would be refused again at once.
        let refused = |error: &StoreError| error.is_refusal_to_write() && !error.is_elsewhere();
        let stranded = matches!(&result, Err(GivenUp::Store(error)) if !refused(error));
        match result {
            Ok(()) => {}
            Err(GivenUp::Store(error)) => not_done(&error, "the renewal was given up"),
            Err(reason) => tracing::info!(%reason, "the renewal was given up"),
        }
        // Only now is it no longer in hand, and can be made due.
        self.outages.note(&lease.key, pass.heard(), late, self.services.clock.now());
        self.services.wake.renewed(&lease.key);
        if stranded {
            self.stranded.add(lease);
        }
    }

    /// Gives back a record that found no place: its tenant's Keycloak is slow, and others are not to wait for it.
    async fn put_back(&self, record: &Record, lease: &Lease) {
        let (now, pause) = (self.services.clock.now(), PUT_BACK.mul_f64(0.5 + roll(&*self.services.entropy)));
        let pause = urgency(record, now).map_or(pause, |longest| pause.min(longest.max(PUT_BACK / 8)));
        let after = Record { due_at: Some(now + pause), ..record.clone() };
        let write = Write::between(record, &after, self.services.attempt()).under(lease).releasing();
        if let Err(error) = self.services.write(&write).await {
            not_done(&error, "a record could not be given back; it comes up again when its lease ends");
        }
    }

    /// The claimed record, or the newer one that the store has lost and this replica still has.
    async fn newest(&self, record: Record) -> Result<Record, StoreError> {
        if self.services.goes_back(&record).await? {
            self.services.observer.rolled_back();
            tracing::warn!(tenant = %record.key.tenant, job = %record.key.job, generation = %record.generation, "the store has lost writes: a record is older than it was");
        }
        self.services.replica.seen.note(&record);
        let Some(held) = self.held.newer_than(&record) else { return Ok(record) };
        self.restore(&held).await?;
        Ok(self.services.store.load(&record.key).await?.map_or(record, |stored| stored.record))
    }
}

/// One round of one record under one lease.
pub(super) struct Renewal<'a> {
    pub(super) reconciler: &'a Reconciler,
    pub(super) rules: &'a TenantRules,
    pub(super) lease: &'a Lease,
    pass: &'a Pass,
}

impl Renewal<'_> {
    async fn run(&self, record: Record) -> Result<(), GivenUp> {
        let services = &self.reconciler.services;
        let mut known = Neighbours::look(services, &record, services.clock.now()).await?;
        let mut progress = Progress::begin(record, None);
        known.tell(&mut progress.round);
        let mut place = None;
        for _ in 0..MOST_STEPS {
            let settings = self.settings(&progress.record);
            let step = plan(&progress, &self.moment(&settings));
            match step {
                Step::Done => return Ok(()),
                Step::Declare(_) if place.is_none() => place = self.place(&progress.record).await?,
                Step::Exchange(slot) if self.joined(&mut known, &mut progress, slot).await? => continue,
                Step::Exchange(_) if !self.asks_to_exchange(&progress.record) => continue,
                Step::Finish(EndReason::Expired) if self.extended(&mut progress.record).await? => continue,
                _ => {}
            }
            // A shutdown waits for what comes of it.
            let _spend = matches!(step, Step::Spend(_)).then(|| services.replica.in_flight.begin_spend());
            let started = services.clock.now();
            let outcome = self.carry_out(&progress.record, step).await?;
            let took = services.clock.now().since(started);
            self.heed(&progress.record, step, &outcome);
            let code = code(&outcome);
            if let (Step::Probe(Slot::Current | Slot::Anchor), Outcome::Probed(Ok(false))) = (step, &outcome) {
                progress.round.epoch = Some(services.store.epoch().await?);
            }
            let before = progress.record.clone();
            let answered = matches!((step, &outcome), (Step::Spend(_), Outcome::Issued(_)));
            progress = apply(progress, step, outcome, &self.moment(&settings));
            if progress.record.account != before.account {
                // What is sealed anew must have been the vault's own: the record may have been read again since it was claimed.
                services.vouch(&before).map_err(|_| GivenUp::Sealed)?;
                progress.record = services.vouched(&progress.record);
            }
            let mut resting = matches!(step, Step::Rest(_));
            if let (false, Step::Rest(until)) = (answered, plan(&progress, &self.moment(&settings))) {
                // Nothing comes after this step: the lease goes back with the same write.
                progress = apply(progress, Step::Rest(until), Outcome::Noted, &self.moment(&settings));
                resting = true;
            }
            let acquired = step == Step::Impersonate && progress.record.generation != before.generation;
            let answer = match (answered, acquired) {
                (true, _) => Answer::Spent,
                (_, true) => Answer::Acquired,
                _ => Answer::Repeatable,
            };
            let written = self.write(&before, &progress.record, answer, resting).await;
            if answered {
                self.secure(&progress.record, &written).await;
            }
            if acquired && written.is_err() {
                // The job was released meanwhile, or somebody else holds it.
                services.abandon(&progress.record).await;
            }
            // Told only now: of an answered spend nothing comes before its write, not even a line of a log.
            if let Some(code) = code {
                services.observer.renewal_step(step.code(), code, took);
                tracing::debug!(step = step.code(), outcome = code, generation = %before.generation, "a step of a renewal");
            }
            if let (Step::Exchange(_), Err(GivenUp::Conflict)) = (step, &written) {
                // Most likely the lease was over before Keycloak had answered: it is asked for more than it can answer.
                self.pass.trouble();
            }
            written?;
            services.replica.seen.note(&progress.record);
            if progress.record.generation != before.generation {
                self.told(&progress.record, Act::Renew, "ok", Some(step.code()));
            }
            if matches!(step, Step::Spend(_)) {
                place = None;
            }
            self.tell(&before, &progress.record).await;
            if resting {
                return Ok(());
            }
        }
        tracing::error!("a renewal took more steps than any should");
        Ok(())
    }

    /// Whether the neighbours are others than when the slot was probed: somebody may have created its client session anew,
    /// and it is to be probed again.
    async fn joined(&self, known: &mut Neighbours, progress: &mut Progress, slot: Slot) -> Result<bool, StoreError> {
        let services = &self.reconciler.services;
        let now = Neighbours::look(services, &progress.record, services.clock.now()).await?;
        if now == *known {
            return Ok(false);
        }
        progress.round.look_again(slot);
        now.tell(&mut progress.round);
        *known = now;
        Ok(true)
    }

    /// Tells whoever watches what became of the job, and does what follows from its end.
    async fn tell(&self, before: &Record, after: &Record) {
        self.tell_doubt(before, after);
        match (before.state, after.state) {
            (State::Active, State::Suspended(why)) => {
                self.reconciler.services.observer.suspended(why);
                self.told(after, Act::Suspend, why.code(), None);
                tracing::info!(reason = why.code(), "the job is suspended");
            }
            (State::Suspended(_), State::Active) => tracing::info!("the job goes on"),
            (_, State::Ended(reason)) => self.finished(before, after, reason).await,
            (before_it, State::Releasing(reason)) if before_it.is_live() => self.finished(before, after, reason).await,
            _ => {}
        }
    }

    /// Tells when it became doubtful whether the session lives, and how that ended.
    fn tell_doubt(&self, before: &Record, after: &Record) {
        let observer = &self.reconciler.services.observer;
        match (&before.doubt, &after.doubt, after.state.is_live()) {
            (None, Some(_), _) => {
                observer.doubt(DoubtOutcome::Begun);
                tracing::info!(
                    seconds = self.rules.renewal.doubt.as_secs(),
                    "Keycloak says that the session is over; it is asked again before the job ends"
                );
            }
            (Some(_), None, true) => {
                observer.doubt(DoubtOutcome::Lifted);
                tracing::info!("the session lives after all");
            }
            (Some(_), None, false) => observer.doubt(DoubtOutcome::Confirmed),
            _ => {}
        }
    }

    /// Records what became of the job; never waits.
    fn told(&self, record: &Record, act: Act, outcome: &'static str, step: Option<&'static str>) {
        let mut entry = Entry::new(act, Actor::Vault, outcome).of(&record.key).user(&record.user);
        entry.session = record.session.as_ref().map(|session| session.sid.clone());
        entry.detail = step.map(|step| format!("{step}, generation {}", record.generation));
        self.reconciler.services.journal.record(entry);
    }

    fn settings(&self, record: &Record) -> Settings {
        let mut settings = self.rules.renewal.clone();
        let services = &self.reconciler.services;
        let may = services.replica.exchange.may(&self.client(record), services.clock.now());
        settings.may_exchange = settings.may_exchange && may;
        settings
    }

    /// Whether this job may send an exchange: after the client was refused, one finds out whether it may again.
    fn asks_to_exchange(&self, record: &Record) -> bool {
        let services = &self.reconciler.services;
        services.replica.exchange.ask(&self.client(record), services.clock.now())
    }

    fn moment<'s>(&self, settings: &'s Settings) -> Moment<'s> {
        let services = &self.reconciler.services;
        Moment { now: services.clock.now(), roll: roll(&*services.entropy), settings }
    }

    /// The client a record's pair was issued to.
    pub(super) fn client(&self, record: &Record) -> Client {
        match &record.session {
            Some(session) => Client { tenant: record.key.tenant.clone(), id: session.client.clone() },
            None => self.rules.client.clone(),
        }
    }

    /// A place among the spends of a client session, waited for before the spend is declared: the intent's deadline
    /// counts from the declaration, and what is left of it after the send is how long Keycloak may take.
    async fn place(&self, record: &Record) -> Result<Option<OwnedSemaphorePermit>, GivenUp> {
        let Some(session) = record.session_key() else { return Ok(None) };
        let place = self.reconciler.spends.enter(&session).await;
        self.hold().await?;
        Ok(Some(place))
    }

    /// Whether the job's end was put off since the record was claimed; then the record is told. Terms go together: a seal
    /// vouches for all of them.
    async fn extended(&self, record: &mut Record) -> Result<bool, GivenUp> {
        let services = &self.reconciler.services;
        let Some(stored) = services.store.load(&record.key).await? else { return Ok(false) };
        let now = stored.record;
        if now.expires_at <= record.expires_at {
            return Ok(false);
        }
        services.vouch(&now).map_err(|_| GivenUp::Sealed)?;
        if now.on_logout != record.on_logout {
            return Err(GivenUp::Conflict);
        }
        record.take_terms_of(now);
        Ok(true)
    }

    /// After an end: the entries are tidied, and the client session is marked where it is over while the user's is not.
    async fn finished(&self, before: &Record, after: &Record, reason: EndReason) {
        let services = &self.reconciler.services;
        if before.state.is_live() {
            services.observer.ended(reason);
            self.told(before, Act::End, reason.code(), None);
            tracing::info!(reason = reason.code(), "the job ended");
        }
        // `SessionLost` is a guess, and of an adopted chain a wrong one as soon as its other holder rotates it.
        let client_session_over =
            matches!(reason, EndReason::ClientSessionGone | EndReason::TokenReused | EndReason::TokenStale);
        if let (true, Some(session), Some(key)) = (client_session_over, &before.session, before.session_key())
            && let Err(error) = services.store.supersede_session(&key, session.incarnation).await
        {
            not_done(&error, "the end of a client session could not be noted");
        }
        services.recount(before, after).await;
        if let State::Ended(_) = after.state {
            services.retire(before).await;
        }
    }

    /// What an outcome says of its tenant's Keycloak, and of the client.
    fn heed(&self, record: &Record, step: Step, outcome: &Outcome) {
        let services = &self.reconciler.services;
        if let Outcome::Failed(GrantError::Unknown(_) | GrantError::Unsent(_))
        | Outcome::Probed(Err(CallError::NoAnswer(_)))
        | Outcome::Revoked(Err(CallError::NoAnswer(_))) = outcome
        {
            self.pass.trouble();
        } else if code(outcome).is_some() {
            self.pass.answer();
        }
        if let Outcome::Failed(GrantError::Refused(Refusal::ClientRejected))
        | Outcome::Probed(Err(CallError::Refused(Refusal::ClientRejected))) = outcome
        {
            self.reconciler.complain_of(&self.client(record));
            self.reconciler.waiting.add(&record.key);
            self.pass.refusal();
        }
        if let (Step::Exchange(_), Outcome::Failed(GrantError::Refused(Refusal::NotAllowed))) = (step, outcome) {
            services.replica.exchange.refused(&self.client(record), services.clock.now());
        }
        if let (Step::Exchange(_), Outcome::Issued(_)) = (step, outcome) {
            services.replica.exchange.granted(&self.client(record));
        }
    }
}

/// How a step went, for metrics and logs; `None` where nothing was sent.
fn code(outcome: &Outcome) -> Option<&'static str> {
    Some(match outcome {
        Outcome::Noted | Outcome::Declared(_) => return None,
        Outcome::Issued(issued) if issued.identity == Identity::Missing => Refusal::IdentityMissing.code(),
        Outcome::Issued(_) | Outcome::Revoked(Ok(())) => "ok",
        Outcome::Probed(Ok(true)) => "active",
        Outcome::Probed(Ok(false)) => "inactive",
        Outcome::Probed(Err(error)) | Outcome::Revoked(Err(error)) => match error {
            CallError::Refused(refusal) => refusal.code(),
            CallError::NoAnswer(_) => "no_answer",
        },
        Outcome::Failed(GrantError::Refused(refusal)) => refusal.code(),
        Outcome::Failed(GrantError::Unknown(_)) => "unknown",
        Outcome::Failed(GrantError::Unsent(_)) => "unsent",
    })
}
