//! One round of one record under one lease: the loop that carries out what the core decides.
//!
//! It names no step. What a step requires, sends and owes are values of [`tokenvault_core::policy`]; the files beside this
//! one carry them out: `requirements` looks at what must be true, `send` asks Keycloak, `commit` writes, and `follow_up`
//! does what comes after the write.

use tokenvault_core::policy::{DecisionInput, Round, Settings, conclude, plan};
use tokenvault_core::ports::{Client, Lease, StoreError};
use tokenvault_core::record::Record;
use tokio::sync::OwnedSemaphorePermit;

use super::context::RenewalContext;
use super::neighbours::SessionPeers;
use super::traffic::TenantPermit;
use crate::jitter::roll;
use crate::replica::SpendInFlight;
use crate::tenants::TenantRules;

/// More steps than any plan takes; a guard against a plan that does not end.
const MOST_STEPS: usize = 24;

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

/// One round of one record under one lease.
pub(super) struct LeasedRound<'a> {
    pub(super) context: &'a RenewalContext,
    pub(super) rules: &'a TenantRules,
    pub(super) lease: &'a Lease,
    /// Of the requests that the tenant's Keycloak is asked at a time.
    pub(super) permit: &'a TenantPermit,
    /// Who shared the client sessions when they were looked at last.
    pub(super) peers: SessionPeers,
    /// A permit to spend, from the declaration until what came of the spend is written.
    pub(super) spend_permit: Option<OwnedSemaphorePermit>,
    /// Holds a shutdown up during a spend.
    pub(super) held_shutdown: Option<SpendInFlight<'a>>,
}

impl<'a> LeasedRound<'a> {
    pub(super) fn new(
        context: &'a RenewalContext,
        rules: &'a TenantRules,
        lease: &'a Lease,
        permit: &'a TenantPermit,
    ) -> Self {
        let peers = SessionPeers::default();
        Self { context, rules, lease, permit, peers, spend_permit: None, held_shutdown: None }
    }

    /// Takes turns until the record rests or has ended.
    pub(super) async fn run(mut self, record: Record) -> Result<(), GivenUp> {
        let mut round = self.begin(record).await?;
        for _ in 0..MOST_STEPS {
            let settings = self.settings(&round.record);
            let step = plan(&round, &self.input(&settings));
            if !self.meet_requirements(step, &mut round).await? {
                continue;
            }
            let (outcome, took) = self.carry_out(&round.record, step).await?;
            let owed = step.obligations(&outcome);
            self.note_reply(&round.record, owed);
            if owed.asks_epoch {
                round.findings.epoch = Some(self.context.services.store.epoch().await?);
            }
            let turn = self.seal_terms(conclude(round, step, outcome, &self.input(&settings)))?;
            // Of an answered spend nothing comes before its write, not even a line of a log.
            let written = self.commit(&turn).await;
            self.report_step(&turn, took, &written);
            written?;
            self.follow_up(&turn).await;
            if turn.is_last() {
                return Ok(());
            }
            round = turn.round;
        }
        tracing::error!("a renewal took more steps than any should");
        Ok(())
    }

    async fn begin(&mut self, record: Record) -> Result<Round, StoreError> {
        let services = &self.context.services;
        self.peers = SessionPeers::look(services, &record, services.clock.now()).await?;
        let mut round = Round::begin(record);
        self.peers.note_in(&mut round.findings);
        Ok(round)
    }

    fn settings(&self, record: &Record) -> Settings {
        let mut settings = self.rules.renewal.clone();
        let services = &self.context.services;
        let may = services.replica.exchange.may(&self.client(record), services.clock.now());
        settings.may_exchange = settings.may_exchange && may;
        settings
    }

    fn input<'s>(&self, settings: &'s Settings) -> DecisionInput<'s> {
        let services = &self.context.services;
        DecisionInput { now: services.clock.now(), roll: roll(&*services.entropy), settings }
    }

    /// The client a record's pair was issued to.
    pub(super) fn client(&self, record: &Record) -> Client {
        match &record.session {
            Some(session) => Client { tenant: record.key.tenant.clone(), id: session.client.clone() },
            None => self.rules.client.clone(),
        }
    }
}
