//! Register: a module proves its user's consent and gets a job.
//!
//! Order of steps: what is there already is looked at first (a lost answer can be asked for again late); then the
//! request, then the proof, and only then is anything asked of Keycloak. The job enters its session and its user's list
//! before its record is created, so that a crash leaves an entry too many and never a job that nobody can find.

use std::collections::BTreeSet;

use tokenvault_core::ids::{Generation, JobId, JobKey, ModuleName, Subject, UserId};
use tokenvault_core::pair::PairKind;
use tokenvault_core::policy::{DecisionInput, schedule_first};
use tokenvault_core::ports::{Created, Proof, ProofError};
use tokenvault_core::record::{Acquisition, Anchor, EndKind, EndReason, Record, State};
use tokenvault_core::secret::AccessToken;
use tokenvault_core::time::Timestamp;

use super::acquire::{Acquired, CheckedProof};
use super::joining::JoinAttempt;
use super::read::ended;
use super::refusals::{key_unavailable, rejected, store_problem};
use super::request::{CheckedRequest, Lifetime, agree, lifetime};
use super::{Caller, ProvenBy, Registered, Registration, Vault, unverified_jwt, view};
use crate::jitter::roll;
use crate::problem::{Code, Problem};
use crate::tenants::TenantRules;

/// A renewal may change a record between the look and the write; it cannot do so for ever.
const TRIES: u32 = 4;

/// A job that was not created, as far as is known.
pub(super) struct NotCreated {
    problem: Problem,
    /// Whether its record may be there all the same: the store was asked to create it, and did not answer.
    perhaps: bool,
}

impl From<Problem> for NotCreated {
    fn from(problem: Problem) -> Self {
        Self { problem, perhaps: false }
    }
}

/// What stands under the job id already.
enum Existing {
    /// Nothing, or an end that a new registration replaces.
    Free(Option<Box<Record>>),
    /// The same registrar's live job of the same user.
    Ours(Box<Record>),
    /// Another module's job, or what is left of it.
    Taken,
}

impl Vault {
    /// Registers a job, or answers again for one that is there.
    pub async fn register(&self, caller: &Caller, job: JobId, request: Registration) -> Result<Registered, Problem> {
        if request.parent_job_id.is_none() {
            request.token()?;
        }
        let key = JobKey::new(caller.tenant.clone(), job);
        let rules = self.rules(&caller.tenant)?;
        let lifetime = lifetime(&request, &rules, self.services.clock.now())?;
        for _ in 0..TRIES {
            let existing = self.existing(caller, &key, &rules, &request).await?;
            if !self.services.keyring.may_seal() {
                return Err(key_unavailable("This replica has no key that it may seal with."));
            }
            match existing {
                Existing::Ours(record) => {
                    if let Some(answer) = self.update(caller, &record, &request, &lifetime).await? {
                        return Ok(answer);
                    }
                }
                Existing::Taken => {
                    // Which ids there are is told to those alone who could have made a job of it.
                    self.could_create(caller, &key, &request).await?;
                    return Err(conflict());
                }
                Existing::Free(previous) => {
                    if let Some(answer) =
                        self.create(caller, &key, &request, &lifetime, previous.map(|record| record.generation)).await?
                    {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(Problem::new(Code::StoreUnavailable, "The job changed again and again while it was being registered."))
    }

    async fn existing(
        &self,
        caller: &Caller,
        key: &JobKey,
        rules: &TenantRules,
        request: &Registration,
    ) -> Result<Existing, Problem> {
        let Some(stored) = self.load(key).await? else { return Ok(Existing::Free(None)) };
        let record = stored.record;
        let token = request.access_token.as_ref();
        let said = token.and_then(|token| unverified_jwt::text(token.expose(), &rules.user_id_claim));
        let said = said.and_then(|user| UserId::parse(user).ok());
        if record.registrar != caller.module {
            return Ok(Existing::Taken);
        }
        // Without a token, nothing but the parent says whose child it is to be. With one, a live job is no other parent's.
        let named = token.is_none() || (request.parent_job_id.is_some() && record.state.is_live());
        if named && record.parent != request.parent_job_id {
            return Err(conflict());
        }
        if let (Some(named), Some(said)) = (&request.user_id, &said)
            && named != said
        {
            return Err(rejected("user_id_mismatch"));
        }
        let user = request.user_id.clone().or(said);
        if user.as_ref().is_some_and(|user| *user != record.user) {
            return Err(conflict());
        }
        let over =
            record.state.end().or((self.services.clock.now() >= record.expires_at).then_some(EndReason::Expired));
        match over {
            None if user.is_some() || token.is_none() => Ok(Existing::Ours(Box::new(record))),
            None => Err(rejected("malformed")),
            Some(reason) if reason.kind() == EndKind::Reauth && matches!(record.state, State::Ended(_)) => {
                Ok(Existing::Free(Some(Box::new(record))))
            }
            Some(reason) => {
                let told = ended(reason);
                Err(Problem { code: Code::JobIdEnded, ..told })
            }
        }
    }

    /// Whether the caller could create such a job, as far as that shows without asking Keycloak for anything.
    async fn could_create(&self, caller: &Caller, key: &JobKey, request: &Registration) -> Result<(), Problem> {
        if let Some(parent) = &request.parent_job_id {
            return self.could_create_child(caller, key, request, parent).await.map(drop);
        }
        agree(caller, request, &*self.rules(&caller.tenant)?)?;
        self.verify_proof(key, request.token()?, request.user_id.as_ref()).await.map(drop)
    }

    /// Acquires a pair and creates the record; `None` if another registration came first.
    async fn create(
        &self,
        caller: &Caller,
        key: &JobKey,
        request: &Registration,
        lifetime: &Lifetime,
        previous: Option<Generation>,
    ) -> Result<Option<Registered>, Problem> {
        if let Some(parent) = &request.parent_job_id {
            return self.create_child(caller, key, (request, parent), (lifetime, previous)).await;
        }
        let rules = self.rules(&caller.tenant)?;
        let (acquisition, on_logout) = agree(caller, request, &rules)?;
        let token = request.token()?;
        let proof = self.verify_proof(key, token, request.user_id.as_ref()).await?;
        self.reserve(&caller.module, &proof.user, key, lifetime.keep_until).await?;
        let way = self.join_attempt(caller, key, &rules, lifetime.keep_until);
        let wanted = CheckedRequest { way, acquisition, on_logout, expires_at: lifetime.expires_at };
        let created =
            self.create_owner(caller, &wanted, CheckedProof { proof: &proof, token }, (request, previous)).await;
        self.unless_created((caller, &proof.user), key, lifetime.keep_until, created).await
    }

    /// Takes a job that did not come to be out of its user's list.
    pub(super) async fn unless_created(
        &self,
        (caller, user): (&Caller, &UserId),
        key: &JobKey,
        keep_until: Timestamp,
        created: Result<Option<Registered>, NotCreated>,
    ) -> Result<Option<Registered>, Problem> {
        let nothing = created.as_ref().map_or_else(|failed| !failed.perhaps, Option::is_none);
        if nothing {
            self.return_share(&caller.module, key, keep_until).await;
        }
        if created.as_ref().is_err_and(|failed| !failed.perhaps) {
            self.services.leave_user(user, key, keep_until).await;
        }
        created.map_err(|failed| failed.problem)
    }

    /// A way into the user's session that nobody has gone before.
    pub(super) fn join_attempt<'a>(
        &self,
        caller: &'a Caller,
        key: &'a JobKey,
        rules: &'a TenantRules,
        keep_until: Timestamp,
    ) -> JoinAttempt<'a> {
        JoinAttempt { key, by: &caller.module, attempt: self.services.attempt(), rules, keep_until }
    }

    /// Creates a job that has a pair of its own.
    async fn create_owner(
        &self,
        caller: &Caller,
        wanted: &CheckedRequest<'_>,
        evidence: CheckedProof<'_>,
        (request, previous): (&Registration, Option<Generation>),
    ) -> Result<Option<Registered>, NotCreated> {
        let acquired = self.acquire(wanted, evidence, request.refresh_token.as_ref()).await?;
        let (generation, at_work) = (previous.unwrap_or_default(), acquired.at_work);
        let mut record = self.first_record(caller, wanted, evidence.proof, acquired, generation);
        let epoch = self.services.store.epoch().await.ok();
        for pair in record.pair.iter_mut().chain(record.anchor.iter_mut().map(|anchor| &mut anchor.pair)) {
            pair.epoch = epoch;
        }
        let record = Record { readers: readers(request), ..record };
        let created = self.create_record(&record, previous, ProvenBy::AccessToken).await?;
        let own = record.session.as_ref().filter(|_| !record.owns_session());
        let joined = own.or(record.anchor.as_ref().map(|anchor| &anchor.session));
        match (&created, joined) {
            // It lives there, and its mark stays until it lapses.
            (Some(_), Some(session)) if at_work => {
                let (session, job) = (record.session_key_of(session), &record.key.job);
                let _ = self.services.store.enter_session(&session, job, record.keep_until).await;
            }
            (Some(_), Some(_)) => self.services.finish_join(&record, wanted.way.attempt).await,
            // Another registration of the same job came first.
            (None, Some(session)) if !at_work => self.undo_join(wanted.way, session).await,
            (None, _) | (_, None) => {}
        }
        if created.is_none() && record.owns_session() {
            self.services.discard_session(&record).await;
        }
        Ok(created)
    }

    /// Creates a record that is entered under its user already.
    pub(super) async fn create_record(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        proven_by: ProvenBy,
    ) -> Result<Option<Registered>, NotCreated> {
        let (store, record) = (&self.services.store, &self.services.with_sealed_terms(record));
        let attempt = self.services.attempt();
        let mut created = store.create(record, replaces, attempt).await;
        if created.is_err() {
            // Whether it was done is not known; the same attempt asks again.
            created = store.create(record, replaces, attempt).await;
        }
        match created.map_err(|error| NotCreated { problem: store_problem(error), perhaps: true })? {
            Created::Done | Created::AlreadyDone => {
                self.confirm_user_entry(record).await;
                tracing::info!(tenant = %record.key.tenant, job = %record.key.job, acquisition = ?record.acquisition, "a job was registered");
                Ok(Some(Registered { created: true, job: view(record), proven_by }))
            }
            Created::Exists(_) => Ok(None),
        }
    }

    /// What an access token proves, which must be of the user that the request names, if it names one.
    pub(super) async fn verify_proof(
        &self,
        key: &JobKey,
        token: &AccessToken,
        named: Option<&UserId>,
    ) -> Result<Proof, Problem> {
        let proof = self.services.idp.verify(&key.tenant, token).await.map_err(|error| match error {
            ProofError::KeysUnavailable => {
                Problem::new(Code::IdpUnavailable, "The tenant's signing keys could not be had.")
            }
            check => rejected(&check.to_string()),
        })?;
        match named {
            Some(user) if *user != proof.user => Err(rejected("user_id_mismatch")),
            _ => Ok(proof),
        }
    }

    fn first_record(
        &self,
        caller: &Caller,
        wanted: &CheckedRequest<'_>,
        proof: &Proof,
        acquired: Acquired,
        previous: Generation,
    ) -> Record {
        let now = self.services.clock.now();
        let at = DecisionInput { now, roll: roll(&*self.services.entropy), settings: &wanted.way.rules.renewal };
        let Acquired { own, anchor, spare, account, .. } = acquired;
        let mut record = blank(caller, wanted.way.key, (&proof.user, &proof.subject), now);
        record.account = account.filter(|_| self.services.replica.schema.keeps_accounts());
        record.acquisition = wanted.acquisition;
        record.on_logout = wanted.on_logout;
        record.expires_at = wanted.expires_at;
        record.keep_until = wanted.way.keep_until;
        record.generation = previous.next();
        record.access_life = own.access_life;
        let sealer = self.services.sealer(&record);
        let mut pair = sealer.seal(&own.grant, PairKind::Own, record.generation, own.asked_at);
        if wanted.acquisition == Acquisition::Adopt {
            // Whoever deposited it may have sent it: sent again, it could count as reused and end their session.
            pair.refresh.sends = 1;
            pair.rotated = true;
        }
        // It was granted after the pair, and stands for the generation before it.
        let spare = spare.map(|(grant, asked_at)| sealer.seal(&grant, PairKind::Own, previous, asked_at).refresh);
        let anchor = anchor.map(|held| Anchor {
            pair: sealer.seal(&held.grant, PairKind::Anchor, record.generation, held.asked_at),
            session: held.session,
        });
        let life = own.grant.expires_in.min(own.grant.refresh_expires_in.unwrap_or(own.grant.expires_in));
        record.session = Some(own.session);
        record.pair = Some(pair);
        record.anchor = anchor;
        record.spare = spare;
        schedule_first(&mut record, life, &at);
        record.due_at = record.due_at.min(Some(record.expires_at));
        record
    }
}

fn conflict() -> Problem {
    Problem::new(Code::JobConflict, "Another user or another module has a job of this id.")
}

pub(super) fn readers(request: &Registration) -> BTreeSet<ModuleName> {
    request.readers.clone().unwrap_or_default()
}

/// A record without a pair, of a user and the caller.
pub(super) fn blank(caller: &Caller, key: &JobKey, (user, subject): (&UserId, &Subject), now: Timestamp) -> Record {
    Record::new(key.clone(), user.clone(), subject.clone(), caller.module.clone(), now)
}
