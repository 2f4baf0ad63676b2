//! What the vault's use cases and the reconciler share: the ports, the keys, the tenants.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, JobKey, SessionKey, UserId};
use tokenvault_core::pair::{Sealer, TermsSeal};
use tokenvault_core::ports::{Client, Clock, Entropy, Fleet, IdentityProvider, StoreError, TokenStore, Write, Written};
use tokenvault_core::record::{ReadView, Record, Slot};
use tokenvault_core::seal::SealError;
use tokenvault_core::time::Timestamp;

use crate::journal::Journal;
use crate::keyring::KeyringState;
use crate::observer::Observer;
use crate::replica::{Progression, ReplicaState};
use crate::tenants::TenantRegistry;
use crate::wake::Wake;

/// The services, put together once at start.
#[derive(Clone)]
pub struct Services {
    /// Where records are kept.
    pub store: Arc<dyn TokenStore>,
    /// The same store, for what concerns all replicas: pauses, keys in use, what operators ask for.
    pub fleet: Arc<dyn Fleet>,
    /// Keycloak, or what stands in for it.
    pub idp: Arc<dyn IdentityProvider>,
    /// The keys records are sealed with.
    pub keyring: Arc<KeyringState>,
    /// What this replica knows by itself: whether renewal is paused, what is in flight, how far each job was seen.
    pub replica: Arc<ReplicaState>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The tenants.
    pub tenants: Arc<dyn TenantRegistry>,
    /// Wakes waiting reads and the reconciler. It only shortens a wait.
    pub wake: Arc<Wake>,
    /// The metrics.
    pub observer: Arc<dyn Observer>,
    /// Takes down every act: the audit log, and the events that operators watch.
    pub journal: Arc<dyn Journal>,
}

/// Whether a live job has its pair, or its anchor, in the session.
pub(crate) fn lives_in(record: &Record, session: &SessionKey) -> bool {
    record.state.end().is_none() && record.session_keys().any(|lived_in| lived_in == *session)
}

/// How often a write whose answer was lost is repeated before its caller is told.
const WRITE_TRIES: u32 = 4;
const WRITE_PAUSE: Duration = Duration::from_millis(50);

impl Services {
    /// A sealer for a record's tokens.
    pub fn sealer<'a>(&'a self, record: &'a Record) -> Sealer<'a> {
        self.sealer_for(&record.key, &record.user)
    }

    /// A sealer for the tokens of a user's job.
    pub fn sealer_for<'a>(&'a self, key: &'a JobKey, user: &'a UserId) -> Sealer<'a> {
        let (keyring, binds) = (self.keyring.current(), self.replica.schema.demands_terms());
        Sealer { keyring, entropy: &*self.entropy, key, user, binds }
    }

    /// Whether the vault vouched for what a record says about whose it is and who may have it. Before the store's schema
    /// demands it nothing is asked: an older replica that changes terms leaves a seal behind that does not fit them.
    pub fn verify_terms(&self, record: &Record) -> Result<(), SealError> {
        if !self.replica.schema.demands_terms() {
            return Ok(());
        }
        self.vouched(&record.key, self.sealer(record).check_terms(record))
    }

    /// The same of what a read sees of a record.
    pub fn verify_terms_of_view(&self, view: &ReadView) -> Result<(), SealError> {
        if !self.replica.schema.demands_terms() {
            return Ok(());
        }
        let key = &view.terms.key;
        self.vouched(key, self.sealer_for(key, &view.terms.user).check_terms_of_view(view))
    }

    fn vouched(&self, key: &JobKey, seal: Result<TermsSeal, SealError>) -> Result<(), SealError> {
        match seal {
            Ok(TermsSeal::Valid) => return Ok(()),
            Ok(TermsSeal::Missing) => Err(SealError::Forged),
            Err(error) => Err(error),
        }
        .map_err(|error| {
            let error = self.seal_failed(error);
            if error == SealError::KeyInDoubt {
                tracing::debug!(tenant = %key.tenant, job = %key.job, "whether the vault wrote this record, only the right key can tell");
            } else {
                tracing::error!(%error, tenant = %key.tenant, job = %key.job, "nobody of the vault wrote what this record says of itself");
            }
            error
        })
    }

    /// Tells that something sealed did not open, and answers with what that means. A ring in doubt is told of by itself, and says
    /// nothing against what is sealed, nor does a key that is missing from it.
    pub fn seal_failed(&self, error: SealError) -> SealError {
        let lacks = || !self.keyring.may_seal() || self.keyring.missing().is_some();
        if error == SealError::KeyInDoubt || (error == SealError::UnknownKey && lacks()) {
            return SealError::KeyInDoubt;
        }
        self.observer.seal_failure(error);
        error
    }

    /// Whether this replica may begin a renewal now. It must have heard the store's clock, renewal must not be paused, and its
    /// keyring must be fit to seal new tokens.
    pub fn may_renew(&self) -> bool {
        self.clock.is_sure() && !self.replica.pause.is_paused(self.clock.now()) && self.keyring.may_seal()
    }

    /// The record with its terms vouched for.
    #[must_use]
    pub fn with_sealed_terms(&self, record: &Record) -> Record {
        Record { terms: Some(self.sealer(record).seal_terms(record)), ..record.clone() }
    }

    /// Whether the store has lost writes of a record, or somebody has put an old one back: even now it holds an older one than
    /// was seen here. A record that was loaded before that was seen may only have been overtaken, so it is asked for once more.
    pub async fn is_rolled_back(&self, key: &JobKey, found: Progression) -> Result<bool, StoreError> {
        let Some(seen) = self.replica.seen.further_than(key, found) else { return Ok(false) };
        let stored = self.store.load(key).await?;
        Ok(stored.is_some_and(|stored| Progression::of(&stored.record) < seen))
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
    pub async fn discard_session(&self, record: &Record) {
        let Some(session) = record.session_key() else { return };
        if let Ok(token) = self.sealer(record).open_refresh(record, Slot::Current) {
            let client = Client { tenant: session.tenant.clone(), id: session.client.clone() };
            let _ = self.idp.revoke(&client, &token).await;
        }
        let _ = self.store.leave_session(&session, &record.key.job).await;
    }

    /// Notes that a job has come to live in its sessions, which it joined by this attempt. Where that fails, its neighbours
    /// wait a little longer before they exchange.
    pub async fn finish_join(&self, record: &Record, attempt: AttemptId) {
        for session in record.session_keys() {
            let _ = self.store.finish_join(&session, &record.key.job, attempt).await;
        }
    }

    /// Takes an ended job out of the entries that gather jobs. What cannot be removed now is repaired by whoever finds
    /// it there, or expires.
    pub async fn remove_from_indexes(&self, record: &Record) {
        for session in record.session_keys() {
            let _ = self.leave_session(&session, &record.key, record.keep_until).await;
        }
        if let Some(parent) = &record.parent {
            let parent = JobKey::new(record.key.tenant.clone(), parent.clone());
            let _ = self.store.remove_child(&parent, &record.key.job).await;
        }
        self.leave_user(&record.user, &record.key, record.keep_until).await;
    }

    /// Counts in its module's share what is left of a job, for as long as it is kept by now. To be told of each write that
    /// changes how long that is: a count is found by the hour in which it stands.
    pub async fn update_share(&self, before: &Record, after: &Record) {
        let (tenant, from, to) = (&before.key.tenant, before.keep_until, after.keep_until);
        if from != to {
            let _ = self.store.move_share(tenant, &before.registrar, from, Some(to)).await;
        }
    }

    /// Takes a job that does not live in a session out of its entry. A registration may have joined, created and settled since
    /// that was seen: so the job is looked at once more, and put back where it lives, or where that cannot be seen.
    pub async fn leave_session(
        &self,
        session: &SessionKey,
        key: &JobKey,
        keep_until: Timestamp,
    ) -> Result<(), StoreError> {
        let left = self.store.leave_session(session, &key.job).await;
        let lives_until = match self.store.load(key).await {
            Ok(stored) => {
                stored.filter(|stored| lives_in(&stored.record, session)).map(|stored| stored.record.keep_until)
            }
            Err(_) => Some(keep_until),
        };
        if let Some(keep_until) = lives_until {
            let _ = self.store.enter_session(session, &key.job, keep_until).await;
        }
        left
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
