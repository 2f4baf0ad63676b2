//! Carrying a step out: what is sent to Keycloak, and what is made of its answer.
//!
//! An old fence may not send: before anything that could hurt, the lease is looked up in the store again. Nothing is sent
//! twice, and nothing is written here.

use tokenvault_core::ids::AccountId;
use tokenvault_core::pair::PairKind;
use tokenvault_core::policy::{Issued, Outcome, Step};
use tokenvault_core::ports::{Client, Grant, GrantError, Identity, Introspection, Refusal};
use tokenvault_core::record::{Record, SessionRef, Slot};
use tokenvault_core::seal::SealError;
use tokenvault_core::secret::RefreshToken;
use tokenvault_core::time::Timestamp;

use super::renew::{GivenUp, Renewal};
use crate::own_session::{self, Opened};

/// The part of the quarantine within which a declared token is sent, a little less than a third: Keycloak may take two, and
/// the vault's clock may run faster than time.
const SEND_WITHIN: f64 = 0.32;

impl Renewal<'_> {
    pub(super) async fn carry_out(&self, record: &Record, step: Step) -> Result<Outcome, GivenUp> {
        let idp = &self.reconciler.services.idp;
        let client = self.client(record);
        let asked_at = self.reconciler.services.clock.now();
        Ok(match step {
            Step::Rest(_)
            | Step::Done
            | Step::NextSpare
            | Step::Doubt(_)
            | Step::DoubtStore
            | Step::Suspend
            | Step::Finish(_) => Outcome::Noted,
            Step::Declare(_) => Outcome::Declared(self.reconciler.services.attempt()),
            Step::Probe(slot) => {
                let token = self.refresh_token(record, slot)?;
                Outcome::Probed(idp.probe(&client, &token).await)
            }
            Step::Introspect(slot) => {
                let token = self.open(self.reconciler.services.sealer(record).open_subject(record, slot))?;
                let told = idp.introspect(&client, &token).await;
                Outcome::Probed(told.map(|told| matches!(told, Introspection::Active(_))))
            }
            Step::Exchange(slot) => {
                self.hold().await?;
                let subject = self.open(self.reconciler.services.sealer(record).open_subject(record, slot))?;
                self.issued(record, slot, idp.exchange(&client, &subject).await, asked_at)
            }
            Step::Spend(slot) => self.spend(record, slot, &client).await?,
            Step::Impersonate => {
                self.hold().await?;
                self.impersonate(record).await?
            }
            Step::Revoke => {
                self.hold().await?;
                let token = self.refresh_token(record, Slot::Current)?;
                Outcome::Revoked(idp.revoke(&client, &token).await)
            }
        })
    }

    /// Sends a refresh token, once. The lease is checked right before the send.
    async fn spend(&self, record: &Record, slot: Slot, client: &Client) -> Result<Outcome, GivenUp> {
        let token = self.refresh_token(record, slot)?;
        self.hold().await?;
        let asked_at = self.reconciler.services.clock.now();
        let latest = self.rules.renewal.quarantine.mul_f64(1.0 - SEND_WITHIN);
        if record.intent.is_none_or(|intent| asked_at + latest > intent.deadline) {
            // At the deadline whoever finds the intent believes that nothing is under way any more.
            return Err(GivenUp::LeaseLost);
        }
        let granted = self.reconciler.services.idp.refresh(client, &token).await;
        if matches!(granted, Err(GrantError::Unknown(_))) {
            self.reconciler.services.observer.ambiguous_spend();
        }
        Ok(self.issued(record, slot, granted, asked_at))
    }

    /// What came of an exchange or a spend, in the session that the slot's pair lives in.
    fn issued(&self, record: &Record, slot: Slot, granted: Result<Grant, GrantError>, asked_at: Timestamp) -> Outcome {
        let grant = match granted {
            Ok(grant) => grant,
            Err(error) => return Outcome::Failed(error),
        };
        let anchor = record.anchor.as_ref().map(|anchor| &anchor.session);
        let session = if slot == Slot::Anchor { anchor } else { record.session.as_ref() };
        let identity =
            session.map_or(Identity::Missing, |session| grant.identity_in_session(&record.user, &session.sid));
        Outcome::Issued(Box::new(self.sealed(record, slot, &grant, (identity, asked_at))))
    }

    /// Seals what was granted for the record's next generation.
    fn sealed(
        &self,
        record: &Record,
        slot: Slot,
        grant: &Grant,
        (identity, asked_at): (Identity, Timestamp),
    ) -> Issued {
        let services = &self.reconciler.services;
        services.observer.granted(grant.access.expose().len());
        let kind = if slot == Slot::Anchor { PairKind::Anchor } else { PairKind::Own };
        let mut pair = services.sealer(record).seal(grant, kind, record.generation.next(), asked_at);
        pair.epoch = *self.reconciler.epoch.lock();
        if let Some(sent) = record.slot(slot).filter(|sent| sent.hash == pair.refresh.hash) {
            // No new one came, so it is still the one to use (RFC 6749 §6). That it was sent is not forgotten: a realm that
            // rotates may hold it for spent.
            pair.refresh.sends = sent.sends;
        }
        let account = grant.account.clone().filter(|_| services.replica.schema.keeps_accounts());
        Issued { pair, expires_in: grant.expires_in, identity, account, session: None }
    }

    /// A new session of the vault's own: the job joins that session before the record says so.
    async fn impersonate(&self, record: &Record) -> Result<Outcome, GivenUp> {
        let (services, client) = (&self.reconciler.services, &self.rules.client);
        let Some(account) = self.account_of(record) else {
            return Ok(Outcome::Failed(GrantError::Refused(Refusal::AccountUnknown)));
        };
        let Opened { grant, sid, asked_at } = match own_session::open(services, client, &record.user, &account).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Outcome::Failed(error)),
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
            services.abandon(&lost).await;
            return Err(error.into());
        }
        Ok(Outcome::Issued(Box::new(issued)))
    }

    /// Keycloak's own id of the record's user. Where users are known by `sub`, and were when it was registered, a record that
    /// never learnt it has it in that.
    fn account_of(&self, record: &Record) -> Option<AccountId> {
        let by_sub = self.rules.user_id_claim == "sub" && record.user.as_str() == record.subject.as_str();
        record.account.clone().or_else(|| AccountId::parse(record.user.as_str()).ok().filter(|_| by_sub))
    }

    /// An old fence may not send: the lease is looked up in the store, and not only on this replica's clock.
    pub(super) async fn hold(&self) -> Result<(), GivenUp> {
        let services = &self.reconciler.services;
        if services.clock.now() < self.lease.until && services.store.holds(self.lease).await? {
            return Ok(());
        }
        services.observer.lease_lost();
        Err(GivenUp::LeaseLost)
    }

    fn refresh_token(&self, record: &Record, slot: Slot) -> Result<RefreshToken, GivenUp> {
        self.open(self.reconciler.services.sealer(record).open_refresh(record, slot))
    }

    /// What does not open decides nothing, however it came about: the right key may be in another replica's keyring, or in
    /// this one's again once an operator has put it back. The record comes up again at the lease's end.
    fn open<T>(&self, opened: Result<T, SealError>) -> Result<T, GivenUp> {
        opened.map_err(|error| {
            let error = self.reconciler.services.seal_failed(error);
            tracing::error!(%error, "a sealed token does not open");
            GivenUp::Sealed
        })
    }
}
