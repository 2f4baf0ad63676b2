//! Carrying a step out: what is sent to Keycloak, and what is made of its answer.
//!
//! What must be true before has been looked at in `requirements`, and nothing is waited for in between. Nothing is sent twice,
//! and nothing is written here.

use std::time::Duration;

use tokenvault_core::ids::AccountId;
use tokenvault_core::pair::Kind;
use tokenvault_core::policy::{Issued, Request, Step, StepOutcome};
use tokenvault_core::ports::{Grant, GrantError, Identity, Introspection, Refusal};
use tokenvault_core::record::{Record, SessionRef, Slot};
use tokenvault_core::seal::SealError;
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tokenvault_core::time::Timestamp;

use super::leased_round::{GivenUp, LeasedRound};
use crate::own_session::{self, Opened};

impl LeasedRound<'_> {
    /// Carries a step out; says how long that took.
    pub(super) async fn carry_out(&self, record: &Record, step: Step) -> Result<(StepOutcome, Duration), GivenUp> {
        let services = &self.context.services;
        let started = services.clock.now();
        let outcome = match step.request() {
            Some(request) => self.send(record, request, started).await?,
            None => step.unsent_outcome(|| services.attempt()),
        };
        Ok((outcome, services.clock.now().since(started)))
    }

    async fn send(&self, record: &Record, request: Request, asked_at: Timestamp) -> Result<StepOutcome, GivenUp> {
        let idp = &self.context.services.idp;
        let client = self.client(record);
        Ok(match request {
            Request::IntrospectRefreshToken(slot) => {
                let token = self.refresh_token(record, slot)?;
                StepOutcome::Probed(idp.probe(&client, &token).await)
            }
            Request::IntrospectAccessToken(slot) => {
                let token = self.access_token(record, slot)?;
                let answer = idp.introspect(&client, &token).await;
                StepOutcome::Probed(answer.map(|answer| matches!(answer, Introspection::Active(_))))
            }
            Request::Exchange(slot) => {
                let subject = self.access_token(record, slot)?;
                self.issued(record, slot, idp.exchange(&client, &subject).await, asked_at)
            }
            Request::Refresh(slot) => {
                let token = self.refresh_token(record, slot)?;
                let granted = idp.refresh(&client, &token).await;
                if matches!(granted, Err(GrantError::Unknown(_))) {
                    self.context.services.observer.ambiguous_spend();
                }
                self.issued(record, slot, granted, asked_at)
            }
            Request::Impersonate => self.impersonate(record).await?,
            Request::Revoke(slot) => {
                let token = self.refresh_token(record, slot)?;
                StepOutcome::Revoked(idp.revoke(&client, &token).await)
            }
        })
    }

    /// What came of an exchange or a spend, in the session that the slot's pair lives in.
    fn issued(
        &self,
        record: &Record,
        slot: Slot,
        granted: Result<Grant, GrantError>,
        asked_at: Timestamp,
    ) -> StepOutcome {
        let grant = match granted {
            Ok(grant) => grant,
            Err(error) => return StepOutcome::Failed(error),
        };
        let anchor = record.anchor.as_ref().map(|anchor| &anchor.session);
        let session = if slot == Slot::Anchor { anchor } else { record.session.as_ref() };
        let identity =
            session.map_or(Identity::Missing, |session| grant.identity_in_session(&record.user, &session.sid));
        StepOutcome::Issued(Box::new(self.sealed(record, slot, &grant, (identity, asked_at))))
    }

    /// Seals what was granted for the record's next generation.
    fn sealed(
        &self,
        record: &Record,
        slot: Slot,
        grant: &Grant,
        (identity, asked_at): (Identity, Timestamp),
    ) -> Issued {
        let services = &self.context.services;
        services.observer.granted(grant.access.expose().len());
        let kind = if slot == Slot::Anchor { Kind::Anchor } else { Kind::Own };
        let mut pair = services.sealer(record).seal(grant, kind, record.generation.next(), asked_at);
        pair.epoch = *self.context.epoch.lock();
        if let Some(sent) = record.slot(slot).filter(|sent| sent.hash == pair.refresh.hash) {
            // No new one came, so it is still the one to use (RFC 6749 §6). That it was sent is not forgotten: a realm that
            // rotates may hold it for spent.
            pair.refresh.sends = sent.sends;
        }
        let account = grant.account.clone().filter(|_| services.replica.schema.keeps_accounts());
        Issued { pair, expires_in: grant.expires_in, identity, account, session: None }
    }

    /// A new session of the vault's own: the job joins that session before the record says so.
    async fn impersonate(&self, record: &Record) -> Result<StepOutcome, GivenUp> {
        let (services, client) = (&self.context.services, &self.rules.client);
        let Some(account) = self.account_of(record) else {
            return Ok(StepOutcome::Failed(GrantError::Refused(Refusal::AccountUnknown)));
        };
        let Opened { grant, sid, asked_at } = match own_session::open(services, client, &record.user, &account).await {
            Ok(opened) => opened,
            Err(error) => return Ok(StepOutcome::Failed(error)),
        };
        let mut issued = self.sealed(record, Slot::Current, &grant, (Identity::Same, asked_at));
        let entered = services.store.enter_session(&client.session(&sid), &record.key.job, record.keep_until).await;
        let incarnation = entered.as_ref().copied().unwrap_or_default();
        issued.session = Some(SessionRef { sid, client: client.id.clone(), incarnation });
        if let Err(error) = entered {
            let lost = Record {
                pair: Some(issued.pair),
                session: issued.session,
                generation: record.generation.next(),
                ..record.clone()
            };
            services.discard_session(&lost).await;
            return Err(error.into());
        }
        Ok(StepOutcome::Issued(Box::new(issued)))
    }

    /// Keycloak's own id of the record's user. Where users are known by `sub`, and were when it was registered, a record that
    /// never learnt it has it in that.
    fn account_of(&self, record: &Record) -> Option<AccountId> {
        let by_sub = self.rules.user_id_claim == "sub" && record.user.as_str() == record.subject.as_str();
        record.account.clone().or_else(|| AccountId::parse(record.user.as_str()).ok().filter(|_| by_sub))
    }

    fn refresh_token(&self, record: &Record, slot: Slot) -> Result<RefreshToken, GivenUp> {
        self.open(self.context.services.sealer(record).open_refresh(record, slot))
    }

    fn access_token(&self, record: &Record, slot: Slot) -> Result<AccessToken, GivenUp> {
        self.open(self.context.services.sealer(record).open_subject(record, slot))
    }

    /// What does not open decides nothing, however it came about: the right key may be in another replica's keyring, or in
    /// this one's again once an operator has put it back. The record comes up again at the lease's end.
    fn open<T>(&self, opened: Result<T, SealError>) -> Result<T, GivenUp> {
        opened.map_err(|error| {
            let error = self.context.services.seal_failed(error);
            tracing::error!(%error, "a sealed token does not open");
            GivenUp::Sealed
        })
    }
}
