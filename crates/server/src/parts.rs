//! What the vault's use cases and the reconciler share: the ports, the keys, the tenants.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, JobKey, UserId};
use tokenvault_core::pair::{Sealer, Vouched};
use tokenvault_core::ports::{Client, Clock, Entropy, Fleet, IdentityProvider, StoreError, TokenStore, Write, Written};
use tokenvault_core::record::{EndReason, Record, Slot, Suspension};
use tokenvault_core::seal::SealError;
use tokenvault_core::time::Timestamp;

use crate::fleet::Standing;
use crate::journal::Journal;
use crate::keyring::KeyringState;
use crate::tenants::Tenants;
use crate::wake::Wake;

/// Hears what happens, for metrics. Every method does nothing unless it is overridden.
pub trait Observer: Send + Sync {
    /// A step of a renewal was carried out: [`Step::code`](tokenvault_core::policy::Step::code) and how it went.
    fn renewal_step(&self, _step: &'static str, _outcome: &'static str, _took: Duration) {}
    /// A claimed record had been due for this long.
    fn renewal_lag(&self, _lag: Duration) {}
    /// A job ended.
    fn ended(&self, _reason: EndReason) {}
    /// The answer to a spend was lost.
    fn ambiguous_spend(&self) {}
    /// A job was suspended.
    fn suspended(&self, _why: Suspension) {}
    /// The store has a record at an older generation than was seen before.
    fn rolled_back(&self) {}
    /// A lease was found to be held by somebody else.
    fn lease_lost(&self) {}
    /// Something sealed did not open.
    fn seal_failure(&self, _error: SealError) {}
    /// A read was answered: `token`, `not_modified` or a problem's code, and the life of the token.
    fn read(&self, _outcome: &'static str, _took: Duration, _ttl: Option<Duration>) {}
    /// The reconciler has been through all shards.
    fn reconciled(&self) {}
    /// An access token of so many bytes was granted to the vault.
    fn granted(&self, _bytes: usize) {}
}

/// An observer that does not listen.
#[derive(Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// The parts, put together once at start.
#[derive(Clone)]
pub struct Parts {
    /// Where records are kept.
    pub store: Arc<dyn TokenStore>,
    /// The same place, as replicas and operators use it.
    pub fleet: Arc<dyn Fleet>,
    /// Keycloak, or what stands in for it.
    pub idp: Arc<dyn IdentityProvider>,
    /// The keys records are sealed with.
    pub keyring: Arc<KeyringState>,
    /// Whether renewal is paused, and what is in hand.
    pub standing: Arc<Standing>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The tenants.
    pub tenants: Arc<Tenants>,
    /// The tap on the shoulder.
    pub wake: Arc<Wake>,
    /// The metrics.
    pub observer: Arc<dyn Observer>,
    /// What is told about every act.
    pub journal: Arc<dyn Journal>,
}

/// How often a write whose answer was lost is repeated before its caller is told.
const WRITE_TRIES: u32 = 4;
const WRITE_PAUSE: Duration = Duration::from_millis(50);

impl Parts {
    /// A sealer for a record's tokens.
    pub fn sealer<'a>(&'a self, record: &'a Record) -> Sealer<'a> {
        Sealer {
            keyring: self.keyring.current(),
            entropy: &*self.entropy,
            key: &record.key,
            user: &record.user,
            binds: self.standing.demands_terms(),
        }
    }

    /// Whether the vault vouched for what a record says about whose it is and who may have it. Before the store's schema
    /// demands it nothing is asked: an older replica that changes terms leaves a seal behind that does not fit them.
    pub fn vouch(&self, record: &Record) -> Result<(), SealError> {
        if !self.standing.demands_terms() {
            return Ok(());
        }
        match self.sealer(record).check_terms(record) {
            Ok(Vouched::Yes) => return Ok(()),
            Ok(Vouched::Nobody) => Err(SealError::Forged),
            Err(error) => Err(error),
        }
        .inspect_err(|error| {
            self.observer.seal_failure(*error);
            tracing::error!(%error, tenant = %record.key.tenant, job = %record.key.job, "nobody of the vault wrote what this record says of itself");
        })
    }

    /// The record with its terms vouched for.
    #[must_use]
    pub fn vouched(&self, record: &Record) -> Record {
        Record { terms: Some(self.sealer(record).seal_terms(record)), ..record.clone() }
    }

    /// A fresh attempt id.
    pub fn attempt(&self) -> AttemptId {
        AttemptId::from_bits(self.entropy.bits())
    }

    /// Writes, repeating the same attempt a few times where the store does not answer.
    pub async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        let mut pause = WRITE_PAUSE;
        for _ in 1..WRITE_TRIES {
            match self.store.write(write).await {
                Err(StoreError::Unavailable(_)) => tokio::time::sleep(pause).await,
                answer => return answer,
            }
            pause *= 2;
        }
        self.store.write(write).await
    }

    /// Gives up a new session of the vault's own that its job did not come to live in. Nobody else knows of that session.
    pub async fn abandon(&self, record: &Record) {
        let Some(session) = record.session_key() else { return };
        if let Ok(token) = self.sealer(record).open_refresh(record, Slot::Current) {
            let client = Client { tenant: session.tenant.clone(), id: session.client.clone() };
            let _ = self.idp.revoke(&client, &token).await;
        }
        let _ = self.store.leave_session(&session, &record.key.job).await;
    }

    /// Notes that a job has come to live in its sessions. Where that fails, its neighbours wait a little longer before they
    /// exchange.
    pub async fn settle(&self, record: &Record) {
        for session in record.session_keys() {
            let _ = self.store.settle_session(&session, &record.key.job).await;
        }
    }

    /// Takes an ended job out of the entries that gather jobs. What cannot be removed now is repaired by whoever finds
    /// it there, or expires.
    pub async fn retire(&self, record: &Record) {
        for session in record.session_keys() {
            let _ = self.store.leave_session(&session, &record.key.job).await;
        }
        if let Some(parent) = &record.parent {
            let parent = JobKey::new(record.key.tenant.clone(), parent.clone());
            let _ = self.store.remove_child(&parent, &record.key.job).await;
        }
        self.leave_user(&record.user, &record.key, record.keep_until).await;
    }

    /// Takes a job that is over out of its user's list. It may be registered anew at that very moment, by somebody who has
    /// entered it before: so it is looked at once more, and put back where it lives, or where that cannot be seen.
    pub async fn leave_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) {
        if self.store.remove_from_user(user, key).await.is_err() {
            return;
        }
        let over = match self.store.load(key).await {
            Ok(Some(stored)) => stored.record.user != *user || !stored.record.state.is_live(),
            Ok(None) => true,
            Err(_) => false,
        };
        if !over {
            let _ = self.store.add_to_user(user, key, keep_until).await;
        }
    }
}
