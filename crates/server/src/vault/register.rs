//! Register: a module proves its user's consent and gets a job.
//!
//! Order of steps: what is there already is looked at first (a lost answer can be asked for again late); then the
//! request, then the proof, and only then is anything asked of Keycloak. The job enters its session and its user's list
//! before its record is created, so that a crash leaves an entry too many and never a job that nobody can find.

use std::collections::BTreeSet;

use tokenvault_core::ids::{Generation, JobId, JobKey, ModuleName, Subject, UserId};
use tokenvault_core::pair::Kind;
use tokenvault_core::policy::{DecisionInput, schedule};
use tokenvault_core::ports::{Created, Proof, ProofError};
use tokenvault_core::record::{Acquisition, Anchor, EndKind, EndReason, OnLogout, Record, State};
use tokenvault_core::secret::AccessToken;
use tokenvault_core::time::Timestamp;

use super::acquire::{Acquired, Evidence, rejected};
use super::joining::Way;
use super::read::ended;
use super::{Caller, ProvenBy, Registered, Registration, Vault, no_key, peek, store_problem, view};
use crate::entropy::roll;
use crate::problem::{Code, Problem};
use crate::tenants::TenantRules;

/// A renewal may change a record between the look and the write; it cannot do so for ever.
const TRIES: u32 = 4;

/// When the job ends and when it may be forgotten.
pub(super) struct Terms {
    pub(super) expires_at: Timestamp,
    pub(super) keep_until: Timestamp,
}

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

/// A registration whose request has been checked.
pub(super) struct Wanted<'a> {
    pub(super) way: Way<'a>,
    pub(super) acquisition: Acquisition,
    pub(super) on_logout: OnLogout,
    pub(super) expires_at: Timestamp,
}

/// What stands under the job id already.
enum Standing {
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
        let terms = terms(&request, &rules, self.parts.clock.now())?;
        for _ in 0..TRIES {
            let standing = self.standing(caller, &key, &rules, &request).await?;
            if !self.parts.keyring.may_seal() {
                return Err(no_key("This replica has no key that it may seal with."));
            }
            match standing {
                Standing::Ours(record) => {
                    if let Some(answer) = self.amend(caller, &record, &request, &terms).await? {
                        return Ok(answer);
                    }
                }
                Standing::Taken => {
                    // Which ids there are is told to those alone who could have made a job of it.
                    self.could_create(caller, &key, &request).await?;
                    return Err(conflict());
                }
                Standing::Free(previous) => {
                    if let Some(answer) =
                        self.create(caller, &key, &request, &terms, previous.map(|record| record.generation)).await?
                    {
                        return Ok(answer);
                    }
                }
            }
        }
        Err(Problem::new(Code::StoreUnavailable, "The job changed again and again while it was being registered."))
    }

    async fn standing(
        &self,
        caller: &Caller,
        key: &JobKey,
        rules: &TenantRules,
        request: &Registration,
    ) -> Result<Standing, Problem> {
        let Some(stored) = self.load(key).await? else { return Ok(Standing::Free(None)) };
        let record = stored.record;
        let token = request.access_token.as_ref();
        let said = token.and_then(|token| peek::text(token.expose(), &rules.user_id_claim));
        let said = said.and_then(|user| UserId::parse(user).ok());
        if record.registrar != caller.module {
            return Ok(Standing::Taken);
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
        let over = record.state.end().or((self.parts.clock.now() >= record.expires_at).then_some(EndReason::Expired));
        match over {
            None if user.is_some() || token.is_none() => Ok(Standing::Ours(Box::new(record))),
            None => Err(rejected("malformed")),
            Some(reason) if reason.kind() == EndKind::Reauth && matches!(record.state, State::Ended(_)) => {
                Ok(Standing::Free(Some(Box::new(record))))
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
        self.prove(key, request.token()?, request.user_id.as_ref()).await.map(drop)
    }

    /// Acquires a pair and creates the record; `None` if another registration came first.
    async fn create(
        &self,
        caller: &Caller,
        key: &JobKey,
        request: &Registration,
        terms: &Terms,
        previous: Option<Generation>,
    ) -> Result<Option<Registered>, Problem> {
        if let Some(parent) = &request.parent_job_id {
            return self.create_child(caller, key, (request, parent), (terms, previous)).await;
        }
        let rules = self.rules(&caller.tenant)?;
        let (acquisition, on_logout) = agree(caller, request, &rules)?;
        let token = request.token()?;
        let proof = self.prove(key, token, request.user_id.as_ref()).await?;
        self.reserve(&caller.module, &proof.user, key, terms.keep_until).await?;
        let way = self.way(caller, key, &rules, terms.keep_until);
        let wanted = Wanted { way, acquisition, on_logout, expires_at: terms.expires_at };
        let created = self.create_owner(caller, &wanted, Evidence { proof: &proof, token }, (request, previous)).await;
        self.unless_created((caller, &proof.user), key, terms.keep_until, created).await
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
            self.give_back(&caller.module, key, keep_until).await;
        }
        if created.as_ref().is_err_and(|failed| !failed.perhaps) {
            self.parts.leave_user(user, key, keep_until).await;
        }
        created.map_err(|failed| failed.problem)
    }

    /// A way into the user's session that nobody has gone before.
    pub(super) fn way<'a>(
        &self,
        caller: &'a Caller,
        key: &'a JobKey,
        rules: &'a TenantRules,
        keep_until: Timestamp,
    ) -> Way<'a> {
        Way { key, by: &caller.module, attempt: self.parts.attempt(), rules, keep_until }
    }

    /// Creates a job that has a pair of its own.
    async fn create_owner(
        &self,
        caller: &Caller,
        wanted: &Wanted<'_>,
        evidence: Evidence<'_>,
        (request, previous): (&Registration, Option<Generation>),
    ) -> Result<Option<Registered>, NotCreated> {
        let acquired = self.acquire(wanted, evidence, request.refresh_token.as_ref()).await?;
        let (generation, at_work) = (previous.unwrap_or_default(), acquired.at_work);
        let mut record = self.first_record(caller, wanted, evidence.proof, acquired, generation);
        let epoch = self.parts.store.epoch().await.ok();
        for pair in record.pair.iter_mut().chain(record.anchor.iter_mut().map(|anchor| &mut anchor.pair)) {
            pair.epoch = epoch;
        }
        let record = Record { readers: readers(request), ..record };
        let created = self.enter(&record, previous, ProvenBy::AccessToken).await?;
        let own = record.session.as_ref().filter(|_| !record.owns_session());
        let joined = own.or(record.anchor.as_ref().map(|anchor| &anchor.session));
        match (&created, joined) {
            // It lives there, and its mark stays until it lapses.
            (Some(_), Some(session)) if at_work => {
                let (session, job) = (record.session_key_of(session), &record.key.job);
                let _ = self.parts.store.enter_session(&session, job, record.keep_until).await;
            }
            (Some(_), Some(_)) => self.parts.settle(&record, wanted.way.attempt).await,
            // Another registration of the same job came first.
            (None, Some(session)) if !at_work => self.withdraw(wanted.way, session).await,
            (None, _) | (_, None) => {}
        }
        if created.is_none() && record.owns_session() {
            self.parts.abandon(&record).await;
        }
        Ok(created)
    }

    /// Creates a record that is entered under its user already.
    pub(super) async fn enter(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        proven_by: ProvenBy,
    ) -> Result<Option<Registered>, NotCreated> {
        let (store, record) = (&self.parts.store, &self.parts.vouched(record));
        let attempt = self.parts.attempt();
        let mut created = store.create(record, replaces, attempt).await;
        if created.is_err() {
            // Whether it was done is not known; the same attempt asks again.
            created = store.create(record, replaces, attempt).await;
        }
        match created.map_err(|error| NotCreated { problem: store_problem(error), perhaps: true })? {
            Created::Done | Created::AlreadyDone => {
                self.confirm(record).await;
                tracing::info!(tenant = %record.key.tenant, job = %record.key.job, acquisition = ?record.acquisition, "a job was registered");
                Ok(Some(Registered { created: true, job: view(record), proven_by }))
            }
            Created::Exists(_) => Ok(None),
        }
    }

    /// What an access token proves, which must be of the user that the request names, if it names one.
    pub(super) async fn prove(
        &self,
        key: &JobKey,
        token: &AccessToken,
        named: Option<&UserId>,
    ) -> Result<Proof, Problem> {
        let proof = self.parts.idp.verify(&key.tenant, token).await.map_err(|error| match error {
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
        wanted: &Wanted<'_>,
        proof: &Proof,
        acquired: Acquired,
        previous: Generation,
    ) -> Record {
        let now = self.parts.clock.now();
        let at = DecisionInput { now, roll: roll(&*self.parts.entropy), settings: &wanted.way.rules.renewal };
        let Acquired { own, anchor, spare, account, .. } = acquired;
        let mut record = blank(caller, wanted.way.key, (&proof.user, &proof.subject), now);
        record.account = account.filter(|_| self.parts.standing.keeps_accounts());
        record.acquisition = wanted.acquisition;
        record.on_logout = wanted.on_logout;
        record.expires_at = wanted.expires_at;
        record.keep_until = wanted.way.keep_until;
        record.generation = previous.next();
        record.access_life = own.access_life;
        let sealer = self.parts.sealer(&record);
        let mut pair = sealer.seal(&own.grant, Kind::Own, record.generation, own.asked_at);
        if wanted.acquisition == Acquisition::Adopt {
            // Whoever deposited it may have sent it: sent again, it could count as reused and end their session.
            pair.refresh.sends = 1;
            pair.rotated = true;
        }
        // It was granted after the pair, and stands for the generation before it.
        let spare = spare.map(|(grant, asked_at)| sealer.seal(&grant, Kind::Own, previous, asked_at).refresh);
        let anchor = anchor.map(|held| Anchor {
            pair: sealer.seal(&held.grant, Kind::Anchor, record.generation, held.asked_at),
            session: held.session,
        });
        let life = own.grant.expires_in.min(own.grant.refresh_expires_in.unwrap_or(own.grant.expires_in));
        schedule(&mut record, life, &at);
        record.due_at = record.due_at.min(Some(record.expires_at));
        record.session = Some(own.session);
        record.pair = Some(pair);
        record.anchor = anchor;
        record.spare = spare;
        record
    }
}

fn terms(request: &Registration, rules: &TenantRules, now: Timestamp) -> Result<Terms, Problem> {
    let latest = now + rules.max_job_life;
    let expires_at = request.expires_at.unwrap_or_else(|| (now + rules.default_job_life).min(latest));
    if expires_at > latest {
        return Err(too_late(latest));
    }
    if expires_at <= now {
        return Err(Problem::new(Code::InvalidRequest, "expires_at is in the past."));
    }
    Ok(Terms { expires_at, keep_until: expires_at + rules.renewal.tombstone_ttl })
}

fn conflict() -> Problem {
    Problem::new(Code::JobConflict, "Another user or another module has a job of this id.")
}

pub(super) fn too_late(latest: Timestamp) -> Problem {
    Problem::new(Code::ExpiresAtTooLate, "The job may not live that long in this tenant.")
        .with("latest", latest.to_string())
}

/// Whether the caller may have such jobs, and the tenant has them.
pub(super) fn may_acquire(caller: &Caller, acquisition: Acquisition, rules: &TenantRules) -> Result<(), Problem> {
    if !caller.acquisitions.contains(&acquisition) {
        return Err(Problem::new(Code::ActionDenied, "The caller may not register jobs with this acquisition."));
    }
    if !rules.acquisitions.contains(&acquisition) {
        return Err(Problem::new(Code::Unsupported, "The tenant has no jobs with this acquisition."));
    }
    Ok(())
}

/// What the caller may ask for and the tenant supports.
fn agree(caller: &Caller, request: &Registration, rules: &TenantRules) -> Result<(Acquisition, OnLogout), Problem> {
    let acquisition = request.acquisition.unwrap_or(if request.refresh_token.is_some() {
        Acquisition::Adopt
    } else {
        rules.acquisition
    });
    may_acquire(caller, acquisition, rules)?;
    if request.refresh_token.is_some() && acquisition != Acquisition::Adopt {
        return Err(Problem::new(Code::Unsupported, "A refresh_token is taken for adopt only."));
    }
    if request.refresh_token.is_none() && acquisition == Acquisition::Adopt {
        return Err(Problem::new(Code::InvalidRequest, "adopt needs the refresh_token that is to be adopted."));
    }
    let survives = acquisition == Acquisition::Impersonate;
    let on_logout = match (request.on_logout, rules.on_logout) {
        (Some(OnLogout::Continue), _) if !survives => {
            return Err(Problem::new(Code::Unsupported, "Only an impersonated job can continue after the logout."));
        }
        (Some(OnLogout::Continue), OnLogout::Revoke) => {
            return Err(Problem::new(
                Code::Unsupported,
                "The tenant ends jobs at logout; a job may only tighten that.",
            ));
        }
        (Some(asked), _) => asked,
        (None, OnLogout::Continue) if survives => OnLogout::Continue,
        (None, _) => OnLogout::Revoke,
    };
    Ok((acquisition, on_logout))
}

pub(super) fn readers(request: &Registration) -> BTreeSet<ModuleName> {
    request.readers.clone().unwrap_or_default()
}

/// A record without a pair, of a user and the caller.
pub(super) fn blank(caller: &Caller, key: &JobKey, (user, subject): (&UserId, &Subject), now: Timestamp) -> Record {
    Record {
        key: key.clone(),
        user: user.clone(),
        subject: subject.clone(),
        registrar: caller.module.clone(),
        readers: BTreeSet::new(),
        acquisition: Acquisition::Exchange,
        on_logout: OnLogout::Revoke,
        parent: None,
        created_at: now,
        expires_at: now,
        keep_until: now,
        state: State::Active,
        generation: Generation(1),
        session: None,
        pair: None,
        spare: None,
        reserve: Vec::new(),
        anchor: None,
        intent: None,
        access_life: std::time::Duration::ZERO,
        session_ends_at: None,
        failures: 0,
        account: None,
        terms: None,
        lost_since: None,
        doubt: None,
        announced_at: None,
        renew_at: None,
        due_at: None,
    }
}
