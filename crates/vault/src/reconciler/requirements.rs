//! What must be true right before a step is carried out: looked at here, said by the core.

use tokenvault_core::policy::{Request, Requirement, Round, Step, intent_is_timely};
use tokenvault_core::ports::StoreError;
use tokenvault_core::record::Record;

use super::leased_round::{GivenUp, LeasedRound};
use super::neighbours::SessionPeers;

/// The part of the quarantine within which a declared token is sent, a little less than a third: Keycloak may take two, and
/// the vault's clock may run faster than time.
const SEND_WITHIN: f64 = 0.32;

impl LeasedRound<'_> {
    /// Whether the step may be carried out. If not, the round has learnt something, and plans again.
    pub(super) async fn meet_requirements(&mut self, step: Step, round: &mut Round) -> Result<bool, GivenUp> {
        for requirement in step.requirements() {
            if !self.meet(*requirement, step, round).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn meet(&mut self, requirement: Requirement, step: Step, round: &mut Round) -> Result<bool, GivenUp> {
        let services = &self.context.services;
        match requirement {
            Requirement::SpendPermit => self.take_spend_permit(&round.record).await,
            Requirement::HeldShutdown => self.held_shutdown = Some(services.replica.in_flight.begin_spend()),
            Requirement::Lease => self.check_lease().await?,
            Requirement::TimelyIntent => self.check_intent(&round.record)?,
            Requirement::UnchangedPeers => return Ok(self.peers_are_unchanged(step, round).await?),
            Requirement::ExchangePermission => {
                return Ok(services.replica.exchange.ask(&self.client(&round.record), services.clock.now()));
            }
            Requirement::NewestEnd => return self.end_is_newest(&mut round.record).await,
        }
        Ok(true)
    }

    async fn take_spend_permit(&mut self, record: &Record) {
        if let (None, Some(session)) = (&self.spend_permit, record.session_key()) {
            self.spend_permit = Some(self.context.spends.enter(&session).await);
        }
    }

    async fn check_lease(&self) -> Result<(), GivenUp> {
        let services = &self.context.services;
        if services.clock.now() < self.lease.until && services.store.holds(self.lease).await? {
            return Ok(());
        }
        services.observer.lease_lost();
        Err(GivenUp::LeaseLost)
    }

    fn check_intent(&self, record: &Record) -> Result<(), GivenUp> {
        let time_to_answer = self.rules.renewal.quarantine.mul_f64(1.0 - SEND_WITHIN);
        let now = self.context.services.clock.now();
        intent_is_timely(record, now, time_to_answer).then_some(()).ok_or(GivenUp::LeaseLost)
    }

    async fn peers_are_unchanged(&mut self, step: Step, round: &mut Round) -> Result<bool, StoreError> {
        let services = &self.context.services;
        let peers = SessionPeers::look(services, &round.record, services.clock.now()).await?;
        if peers == self.peers {
            return Ok(true);
        }
        if let Some(slot) = step.request().and_then(Request::slot) {
            round.findings.forget_slot(slot);
        }
        peers.note_in(&mut round.findings);
        self.peers = peers;
        Ok(false)
    }

    /// Where the end was put off, the record takes over the terms that the store has. They go together: a seal vouches for all
    /// of them.
    async fn end_is_newest(&self, record: &mut Record) -> Result<bool, GivenUp> {
        let services = &self.context.services;
        let Some(stored) = services.store.load(&record.key).await? else { return Ok(true) };
        let now = stored.record;
        if now.expires_at <= record.expires_at {
            return Ok(true);
        }
        services.verify_terms(&now).map_err(|_| GivenUp::Sealed)?;
        if now.on_logout != record.on_logout {
            return Err(GivenUp::Conflict);
        }
        (record.expires_at, record.readers, record.terms) = (now.expires_at, now.readers, now.terms);
        Ok(false)
    }
}
