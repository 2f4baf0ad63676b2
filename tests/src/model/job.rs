//! One job as the store has it: its record, the lease on it, and who is at work on it.
//!
//! The rules of a write are those of `TokenStore::write`, which a suite of its own holds the real stores to.

use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::{
    ClientId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionId, StoreEpoch, Subject, TenantId, UserId,
};
use tokenvault_core::policy::{Comparison, Request, Round, Step, StepOutcome, compare};
use tokenvault_core::record::{
    self, Acquisition, Anchor, OnLogout, Pair, Record, RefreshSlot, SessionRef, Slot, State,
};
use tokenvault_core::seal::Sealed;
use tokenvault_core::secret::TokenHash;
use tokenvault_core::time::Timestamp;

use super::canon::{FIRST_FENCE, FIRST_GENERATION, FIRST_INSTANT, PAIR_MARK};
use super::keycloak::{LIFE, PairId};

/// The store's first life.
pub const FIRST_EPOCH: StoreEpoch = StoreEpoch(1);

/// Instants the exploration never reaches.
const NEVER: Duration = Duration::from_hours(28);

/// The session's entry: its incarnation, which registration of each job joined it (0: none), and since when one has been
/// joining that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Entry {
    /// The life the vault believes the client session to be in.
    pub incarnation: Incarnation,
    /// By job: which registration joined.
    pub members: [u8; 2],
    /// By job: since when it has been joining.
    pub joining: [Option<Timestamp>; 2],
}

impl Entry {
    /// Hashes it as it looks from a job's place, so that the two places are alike.
    pub fn hash_from(&self, place: usize, state: &mut impl std::hash::Hasher) {
        let of = |place: usize| (self.members[place], self.joining[place]);
        std::hash::Hash::hash(&(self.incarnation, of(place), of(1 - place)), state);
    }
}

/// What a replica that claimed a record is doing.
#[derive(Debug, Clone, Hash)]
pub enum Phase {
    /// The next step is to be decided.
    Deciding,
    /// A request is on its way.
    Sent(InFlight),
    /// Its answer is on its way back, or waits to be read.
    Answered(Step, Box<StepOutcome>, Timestamp),
    /// The job has ended; its entries are to be tidied, and this incarnation's end to be noted.
    Closing(Option<Incarnation>),
}

/// A request on its way to Keycloak.
#[derive(Debug, Clone, Hash)]
pub struct InFlight {
    /// The step it carries out.
    pub step: Step,
    /// The pair it is about.
    pub pair: Named,
    /// When it was sent.
    pub since: Timestamp,
    /// The entry as it was when it was looked at last.
    pub seen: Entry,
    /// Whether a probe in this round said that the token is good.
    pub probed: bool,
}

impl InFlight {
    /// What is asked of Keycloak.
    pub fn request(&self) -> Request {
        self.step.request().expect("only a step that sends something is on its way")
    }
}

/// A pair's name that hashes as what it names.
#[derive(Debug, Clone, Copy)]
pub struct Named(pub PairId);

impl std::hash::Hash for Named {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write(&[PAIR_MARK, self.0]);
    }
}

/// A replica at work on a record.
#[derive(Debug, Clone)]
pub struct Worker {
    /// Its lease.
    pub fence: u64,
    /// Until when.
    pub until: Timestamp,
    /// The record as it knows it, and what it found out.
    pub round: Round,
    /// The session's entry as it knows it.
    pub seen: Entry,
    /// Whether a probe since then said that the newest token it asked about is good.
    pub probed: bool,
    /// What it is doing.
    pub phase: Phase,
}

/// A job.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent findings, not the stages of one state")]
pub struct Job {
    /// Its record.
    pub record: Arc<Record>,
    /// The newest lease's fence; never used again, even where the store loses writes.
    pub fence: u64,
    /// The end of the lease, unless it was given back.
    pub lease: Option<Timestamp>,
    /// The replicas at work; which is which makes no difference.
    pub workers: [Option<Arc<Worker>>; 2],
    /// Whether it was seen to have ended.
    pub over: bool,
    /// A refresh token of it was spent and the answer has not been heard.
    pub unheard: bool,
    /// Redis lost a spend of it.
    pub robbed: bool,
    /// Redis lost the intent of a spend that may have been under way.
    pub lost_intent: bool,
    /// Its access token has become too long to be exchanged.
    pub oversized: bool,
}

/// What is kept of a write that Redis may lose.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Of which job.
    pub job: usize,
    /// Its record then.
    pub record: Arc<Record>,
    /// The lease then.
    pub lease: Option<Timestamp>,
    /// A refresh token of it was spent since.
    pub spent: bool,
}

/// An instant, in seconds from the beginning.
pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(FIRST_INSTANT + seconds * 1000)
}

fn sealed(id: PairId) -> Sealed {
    Sealed::from_bytes(vec![PAIR_MARK, id])
}

/// Which pair something sealed is.
pub fn number(sealed: &Sealed) -> PairId {
    sealed.as_bytes().last().copied().unwrap_or_default()
}

fn hash(id: PairId) -> TokenHash {
    TokenHash::parse(&format!("{PAIR_MARK:02x}{id:030x}")).expect("32 hexadecimal digits")
}

/// A pair as it is sealed for a record.
pub fn pair(id: PairId, asked_at: Timestamp, generation: Generation, sends: u32) -> Pair {
    Pair {
        access: sealed(id),
        access_expires_at: asked_at + LIFE,
        issued_at: asked_at,
        scope: String::new(),
        rotated: sends > 0,
        epoch: Some(FIRST_EPOCH),
        refresh: RefreshSlot {
            sealed: sealed(id),
            hash: hash(id),
            generation,
            expires_at: Some(asked_at + NEVER),
            sends,
        },
    }
}

/// The client session in the user's session, or a session of the vault's own.
pub fn session(name: &str, incarnation: Incarnation) -> SessionRef {
    let text = "the names parse";
    SessionRef { sid: SessionId::parse(name).expect(text), client: ClientId::parse("v").expect(text), incarnation }
}

/// What a registration writes.
pub fn first_record(acquisition: Acquisition, own: PairId, anchor: Option<PairId>, now: Timestamp) -> Record {
    let text = "the names parse";
    let generation = Generation(FIRST_GENERATION);
    let sends = u32::from(acquisition == Acquisition::Adopt);
    Record {
        key: JobKey::new(TenantId::parse("t").expect(text), JobId::parse("j").expect(text)),
        user: UserId::parse("u").expect(text),
        subject: Subject::parse("s").expect(text),
        registrar: ModuleName::parse("m").expect(text),
        readers: std::collections::BTreeSet::new(),
        acquisition,
        on_logout: if anchor.is_some() { OnLogout::Revoke } else { OnLogout::Continue },
        parent: None,
        created_at: at(0),
        expires_at: at(0) + NEVER,
        keep_until: at(0) + NEVER,
        state: State::Active,
        generation,
        session: Some(session("s", Incarnation::default())),
        pair: Some(pair(own, now, generation, sends)),
        spare: None,
        reserve: Vec::new(),
        anchor: anchor
            .map(|id| Anchor { session: session("s", Incarnation::default()), pair: pair(id, now, generation, 0) }),
        intent: None,
        access_life: LIFE,
        session_ends_at: None,
        failures: 0,
        account: None,
        terms: None,
        lost_since: None,
        doubt: None,
        announced_at: None,
        renew_at: Some(now + LIFE / 2),
        due_at: Some(now + LIFE / 2),
    }
}

/// The pair a step is about.
pub fn subject(record: &Record, step: Step) -> PairId {
    let slot = step.request().and_then(Request::slot).unwrap_or(Slot::Current);
    record.slot(slot).map_or(0, |token| number(&token.sealed))
}

/// Whether a record has a pair in the user's session.
pub fn is_in_the_users_session(record: &Record) -> bool {
    record.anchor.is_some() || !record.owns_session()
}

/// The pairs a record holds, as bits.
pub fn held(record: &Record) -> u64 {
    record.tokens().fold(0, |bits, token| bits | 1 << number(&token.sealed))
}

impl Job {
    /// A job that was just registered.
    pub fn new(record: Record) -> Self {
        Self {
            record: Arc::new(record),
            fence: FIRST_FENCE,
            lease: None,
            workers: [None, None],
            over: false,
            unheard: false,
            robbed: false,
            lost_intent: false,
            oversized: false,
        }
    }

    /// Where its entry in the due index stands.
    pub fn due(&self) -> Option<Timestamp> {
        self.lease.or(self.record.due_at)
    }

    /// Whether a lease is still the newest, and was not given back.
    pub fn holds(&self, worker: &Worker, now: Timestamp) -> bool {
        worker.fence == self.fence && self.lease == Some(worker.until) && now < worker.until
    }

    /// Writes a change made under a lease, or the answer to a spend, as the store would take it.
    pub fn write(&mut self, before: &Record, after: &Record, fence: Option<u64>, gives_back: bool) -> bool {
        let stored = &self.record;
        let attempt = |record: &Record| record.intent.map(|intent| intent.attempt);
        let incarnation = |record: &Record| record.session.as_ref().map(|session| session.incarnation);
        let allowed = stored.generation == before.generation
            && stored.state.code() == before.state.code()
            && !matches!(stored.state, State::Ended(_))
            && match fence {
                Some(fence) => fence == self.fence,
                None => attempt(stored) == attempt(before) && incarnation(stored) == incarnation(before),
            };
        if !allowed {
            return false;
        }
        self.record =
            if **stored == *before { Arc::new(after.clone()) } else { Arc::new(merged(stored, before, after)) };
        let begins_release =
            fence.is_none() && matches!((before.state.is_live(), after.state), (true, State::Releasing(_)));
        if self.record.due_at.is_none() || begins_release || (fence.is_some() && gives_back) {
            self.lease = None;
        }
        true
    }
}

impl Job {
    /// The answer to a spend that could not be written, because the store has gone back or others have given the job up, is
    /// written in the place of what is older.
    pub fn restore(&mut self, held: &Record, now: Timestamp) {
        match compare(held, Some(&self.record), now) {
            Comparison::Stored | Comparison::Superseded => {}
            Comparison::Lost | Comparison::GivenUp(_) => {
                self.record = Arc::new(self.record.with_pair_of(held));
                (self.over, self.unheard) = (false, false);
            }
        }
    }
}

/// Two writers that touch different fields do not undo each other.
fn merged(stored: &Record, before: &Record, after: &Record) -> Record {
    let change = record::change(&record::encode(before), &record::encode(after));
    let mut fields = record::encode(stored);
    fields.extend(change.set);
    for gone in change.remove {
        fields.remove(&gone);
    }
    record::decode(&fields).expect("a change of a record makes a record")
}
