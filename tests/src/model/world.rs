//! One record, two replicas, Keycloak, and everything that can go wrong between them, one event at a time.

use std::time::Duration;

use tokenvault_core::ids::{AttemptId, ClientId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionId};
use tokenvault_core::ids::{Subject, TenantId, UserId};
use tokenvault_core::policy::{Issued, Moment, Outcome, Progress, Settings, Step, apply, plan};
use tokenvault_core::ports::{Cause, GrantError};
use tokenvault_core::record::{
    self, Acquisition, EndKind, OnLogout, Pair, Record, RefreshSlot, SessionRef, Slot, State,
};
use tokenvault_core::seal::Sealed;
use tokenvault_core::secret::RefreshToken;
use tokenvault_core::time::Timestamp;

use super::keycloak::{Keycloak, LIFE, PairId};

const LEASE: u64 = 15;
/// The longest that a request, once sent, may take to be carried out; the machine's quarantine is as long.
const AT_WORK: u64 = 30;

/// What a replica is doing with the record.
#[derive(Debug, Clone)]
enum Phase {
    Deciding,
    Sent(Step, u64),
    Answered(Step, Box<Outcome>, u64),
}

#[derive(Debug, Clone)]
struct Worker {
    fence: u64,
    lease_until: u64,
    progress: Progress,
    phase: Phase,
}

/// How much may still go wrong on this path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Budget {
    /// Crashes, lost requests, lost answers, requests that arrive late.
    pub faults: u8,
    /// Acts of others: logout, revocation and re-creation of the client session.
    pub others: u8,
}

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Time passes to the next instant that matters.
    Tick,
    /// A replica claims the record.
    Claim(usize),
    /// A replica decides, and writes or sends.
    Act(usize),
    /// A request arrives and is carried out.
    Arrive(usize),
    /// Its answer is heard, applied and written.
    Hear(usize),
    /// The request never arrives.
    LoseRequest(usize),
    /// The replica gives up waiting; the request arrives later.
    Stall(usize),
    /// The answer is lost.
    LoseAnswer(usize),
    /// The replica dies.
    Crash(usize),
    /// A stalled request arrives.
    Ghost,
    /// The user logs out.
    Logout,
    /// Somebody revokes the vault's client session.
    Revoke,
    /// The user registers another job, which creates the client session anew.
    Recreate,
}

/// The whole.
#[derive(Debug, Clone)]
pub struct World {
    now: u64,
    /// Keycloak.
    pub keycloak: Keycloak,
    record: Record,
    fence: u64,
    lease_until: Option<u64>,
    workers: [Option<Worker>; 2],
    ghost: Option<(Step, PairId, u64)>,
    attempts: u64,
    budget: Budget,
    heard: PairId,
    others_acted: bool,
    may_exchange: bool,
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_000_000 + seconds)
}

fn seconds(instant: Timestamp) -> u64 {
    instant.as_secs().saturating_sub(1_000_000)
}

fn pair(id: PairId, now: u64, generation: Generation) -> Pair {
    Pair {
        access: Sealed::from_bytes(id.to_be_bytes().to_vec()),
        access_expires_at: at(now + LIFE),
        issued_at: at(now),
        scope: String::new(),
        rotated: false,
        epoch: None,
        refresh: RefreshSlot {
            sealed: Sealed::from_bytes(id.to_be_bytes().to_vec()),
            hash: RefreshToken::new(id.to_string()).hash(),
            generation,
            expires_at: Some(at(now + 100_000)),
            sends: 0,
        },
    }
}

fn number(sealed: &Sealed) -> PairId {
    let bytes = sealed.as_bytes().first_chunk().copied().unwrap_or_default();
    PairId::from_be_bytes(bytes)
}

impl World {
    /// A job just registered. Without `may_exchange` every renewal spends.
    pub fn new(acquisition: Acquisition, may_exchange: bool, budget: Budget) -> Self {
        let text = "the names parse";
        let record = Record {
            key: JobKey::new(TenantId::parse("t").expect(text), JobId::parse("j").expect(text)),
            user: UserId::parse("u").expect(text),
            subject: Subject::parse("s").expect(text),
            registrar: ModuleName::parse("m").expect(text),
            readers: std::collections::BTreeSet::new(),
            acquisition,
            on_logout: OnLogout::Revoke,
            parent: None,
            created_at: at(0),
            expires_at: at(90_000),
            keep_until: at(95_000),
            state: State::Active,
            generation: Generation(1),
            session: Some(SessionRef {
                sid: SessionId::parse("sid").expect(text),
                client: ClientId::parse("vault").expect(text),
                incarnation: Incarnation(0),
            }),
            pair: Some(pair(0, 0, Generation(1))),
            spare: None,
            anchor: None,
            intent: None,
            access_life: Duration::from_secs(LIFE),
            session_ends_at: None,
            failures: 0,
            lost_since: None,
            renew_at: Some(at(LIFE / 2)),
            due_at: Some(at(LIFE / 2)),
        };
        Self {
            now: 0,
            keycloak: Keycloak::new(0),
            record,
            fence: 0,
            lease_until: None,
            workers: [None, None],
            ghost: None,
            attempts: 0,
            budget,
            heard: 0,
            others_acted: false,
            may_exchange,
        }
    }

    /// What tells this state from others.
    pub fn fingerprint(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (self.now, &self.keycloak, self.fence, self.lease_until, self.budget, self.heard).hash(&mut hasher);
        (record::encode(&self.record), format!("{:?}", self.ghost), self.others_acted).hash(&mut hasher);
        for worker in &self.workers {
            let Some(worker) = worker else {
                0.hash(&mut hasher);
                continue;
            };
            (worker.fence, worker.lease_until, record::encode(&worker.progress.record)).hash(&mut hasher);
            format!("{:?} {:?}", worker.progress.round, worker.phase).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// What is wrong with this state, if anything is.
    pub fn violation(&self) -> Option<&'static str> {
        if self.keycloak.killed_user_session {
            return Some("an act of the vault ended the user's session");
        }
        if self.keycloak.reused {
            return Some("a spent refresh token was sent again");
        }
        let reason = self.record.state.end()?;
        // A loss is excused where others ended the session, or where the newest token never reached a living replica.
        let only_copy_unheard = self.keycloak.newest() != self.heard;
        let lost = reason.kind() != EndKind::Job && !self.others_acted && !only_copy_unheard;
        lost.then_some("a job was lost that need not have been")
    }

    /// Whether the record has come to its end.
    pub fn is_over(&self) -> bool {
        !self.record.state.is_live()
    }

    /// How many pairs the record has had.
    pub fn generation(&self) -> u64 {
        self.record.generation.0
    }

    /// Everything that can happen next.
    pub fn events(&self) -> Vec<Event> {
        let mut events = vec![Event::Tick];
        for (i, worker) in self.workers.iter().enumerate() {
            match worker.as_ref().map(|worker| &worker.phase) {
                None if self.is_due() => events.push(Event::Claim(i)),
                None => {}
                Some(phase) => {
                    match phase {
                        Phase::Deciding => events.push(Event::Act(i)),
                        Phase::Sent(step, _) => {
                            events.push(Event::Arrive(i));
                            if self.budget.faults > 0 {
                                events.push(Event::LoseRequest(i));
                                if self.ghost.is_none() && !matches!(step, Step::Probe(_) | Step::Revoke) {
                                    events.push(Event::Stall(i));
                                }
                            }
                        }
                        Phase::Answered(..) => {
                            events.push(Event::Hear(i));
                            if self.budget.faults > 0 {
                                events.push(Event::LoseAnswer(i));
                            }
                        }
                    }
                    if self.budget.faults > 0 {
                        events.push(Event::Crash(i));
                    }
                }
            }
        }
        if self.ghost.is_some() {
            events.push(Event::Ghost);
        }
        if self.budget.others > 0 && self.keycloak.user_alive {
            events.push(Event::Logout);
            if self.keycloak.client_alive {
                events.push(Event::Revoke);
            } else if self.ghost.is_none() && self.workers.iter().all(Option::is_none) {
                // Both a revocation and a re-creation between a probe and the arrival of the exchange after it are the
                // gap that SECURITY.md tells of; everything wider must be survived.
                events.push(Event::Recreate);
            }
        }
        events
    }

    fn is_due(&self) -> bool {
        self.record.due_at.is_some_and(|due| seconds(due) <= self.now)
            && self.lease_until.is_none_or(|end| end <= self.now)
    }

    /// The state after an event.
    #[must_use]
    pub fn after(&self, event: Event) -> Self {
        let mut next = self.clone();
        next.happen(event);
        next
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick => self.tick(),
            Event::Claim(i) => self.claim(i),
            Event::Act(i) => self.act(i),
            Event::Arrive(i) => self.arrive(i),
            Event::Hear(i) => self.hear(i),
            Event::LoseRequest(i) => self.fault(|world| world.unanswered(i)),
            Event::Stall(i) => self.fault(|world| {
                world.haunt(i);
                world.unanswered(i);
            }),
            Event::LoseAnswer(i) => self.fault(|world| world.unanswered(i)),
            Event::Crash(i) => self.fault(|world| {
                world.haunt(i);
                world.workers[i] = None;
            }),
            Event::Ghost => {
                if let Some((step, pair, _)) = self.ghost.take() {
                    self.carry_out(step, pair);
                }
            }
            Event::Logout => self.other(|keycloak| keycloak.user_alive = false),
            Event::Revoke => self.other(|keycloak| keycloak.client_alive = false),
            Event::Recreate => self.other(Keycloak::recreate),
        }
    }

    fn fault(&mut self, act: impl FnOnce(&mut Self)) {
        self.budget.faults -= 1;
        act(self);
    }

    fn other(&mut self, act: impl FnOnce(&mut Keycloak)) {
        self.budget.others -= 1;
        self.others_acted = true;
        act(&mut self.keycloak);
    }

    fn tick(&mut self) {
        let access = [&self.record.pair].into_iter().flatten().map(|pair| seconds(pair.access_expires_at));
        let intent = self.record.intent.iter().map(|intent| seconds(intent.deadline));
        let work = self.workers.iter().flatten().filter_map(|worker| match worker.phase {
            Phase::Sent(_, since) | Phase::Answered(_, _, since) => Some(since + AT_WORK),
            Phase::Deciding => None,
        });
        let instants = access.chain(intent).chain(work).chain(self.record.due_at.map(seconds)).chain(self.lease_until);
        let next = instants.chain(self.ghost.iter().map(|ghost| ghost.2)).filter(|instant| *instant > self.now).min();
        self.now = next.unwrap_or(self.now + 10);
        // A request's time-out is shorter than the quarantine (the configuration is held to that): what has not been
        // heard by then never will be.
        for i in 0..2 {
            let since = self.workers[i].as_ref().and_then(|worker| match worker.phase {
                Phase::Sent(_, since) | Phase::Answered(_, _, since) => Some(since),
                Phase::Deciding => None,
            });
            if since.is_some_and(|since| since + AT_WORK <= self.now) {
                self.unanswered(i);
            }
        }
        self.ghost = self.ghost.take().filter(|ghost| ghost.2 > self.now);
    }

    fn claim(&mut self, i: usize) {
        self.fence += 1;
        let lease_until = self.now + LEASE;
        self.lease_until = Some(lease_until);
        let progress = Progress::begin(self.record.clone(), None);
        self.workers[i] = Some(Worker { fence: self.fence, lease_until, progress, phase: Phase::Deciding });
        self.probe_at_once(i);
    }

    /// A probe changes nothing, so when it is sent makes no difference: it is sent as soon as it is decided on, which
    /// halves the depth that a round takes.
    fn probe_at_once(&mut self, i: usize) {
        let Some(worker) = &self.workers[i] else { return };
        let settings = self.settings();
        let moment = Moment { now: at(self.now), roll: 0.5, settings: &settings };
        if let Step::Probe(_) = plan(&worker.progress, &moment) {
            self.act(i);
        }
    }

    fn settings(&self) -> Settings {
        let quarantine = Duration::from_secs(AT_WORK);
        Settings { jitter: 0.0, quarantine, may_exchange: self.may_exchange, ..Settings::default() }
    }

    fn act(&mut self, i: usize) {
        let Some(worker) = self.workers[i].clone() else { return };
        let settings = self.settings();
        let step = plan(&worker.progress, &Moment { now: at(self.now), roll: 0.5, settings: &settings });
        let holds = worker.lease_until > self.now && worker.fence == self.fence;
        match step {
            Step::Done => self.workers[i] = None,
            Step::Rest(_) | Step::Doubt | Step::Finish(_) => self.settle(i, step, Outcome::Noted),
            Step::Declare(_) => {
                self.attempts += 1;
                self.settle(i, step, Outcome::Declared(AttemptId::from_bits(self.attempts)));
            }
            Step::Exchange(_) | Step::Spend(_) | Step::Impersonate if !holds => self.workers[i] = None,
            Step::Probe(_) | Step::Exchange(_) | Step::Spend(_) | Step::Impersonate | Step::Revoke => {
                self.workers[i] = Some(Worker { phase: Phase::Sent(step, self.now), ..worker });
            }
        }
    }

    fn arrive(&mut self, i: usize) {
        let Some(worker) = self.workers[i].clone() else { return };
        let Phase::Sent(step, since) = worker.phase else { return };
        let outcome = match self.carry_out(step, subject(&worker.progress.record, step)) {
            Carried::Probed(active) => Outcome::Probed(Ok(active)),
            Carried::Revoked => Outcome::Revoked(Ok(())),
            Carried::Granted(Ok(id)) => {
                let generation = worker.progress.record.generation.next();
                let issued = Issued {
                    pair: pair(id, since, generation),
                    expires_in: Duration::from_secs(LIFE),
                    same_user: true,
                    session: None,
                };
                Outcome::Issued(Box::new(issued))
            }
            Carried::Granted(Err(refusal)) => Outcome::Failed(GrantError::Refused(refusal)),
        };
        self.workers[i] = Some(Worker { phase: Phase::Answered(step, Box::new(outcome), since), ..worker });
    }

    fn carry_out(&mut self, step: Step, pair: PairId) -> Carried {
        match step {
            Step::Probe(_) => Carried::Probed(self.keycloak.probe(pair)),
            Step::Exchange(_) => Carried::Granted(self.keycloak.exchange(pair, self.now)),
            Step::Spend(_) => Carried::Granted(self.keycloak.refresh(pair, self.now)),
            Step::Impersonate => Carried::Granted(Ok(self.keycloak.impersonate(self.now))),
            _ => Carried::Revoked,
        }
    }

    fn hear(&mut self, i: usize) {
        let Some(Phase::Answered(step, outcome, _)) = self.workers[i].as_ref().map(|worker| worker.phase.clone())
        else {
            return;
        };
        if let Outcome::Issued(issued) = &*outcome {
            self.heard = self.heard.max(number(&issued.pair.access));
        }
        self.settle(i, step, *outcome);
    }

    /// No answer: the replica does not know what became of its request.
    fn unanswered(&mut self, i: usize) {
        let step = match self.workers[i].as_ref().map(|worker| &worker.phase) {
            Some(Phase::Sent(step, _) | Phase::Answered(step, ..)) => *step,
            _ => return,
        };
        let outcome = match step {
            Step::Probe(_) => Outcome::Probed(Err(tokenvault_core::ports::CallError::NoAnswer(Cause::Timeout))),
            Step::Revoke => Outcome::Revoked(Err(tokenvault_core::ports::CallError::NoAnswer(Cause::Timeout))),
            _ => Outcome::Failed(GrantError::Unknown(Cause::Timeout)),
        };
        self.settle(i, step, outcome);
    }

    /// A request on the way goes on without whoever sent it.
    fn haunt(&mut self, i: usize) {
        let Some(worker) = &self.workers[i] else { return };
        let Phase::Sent(step, since) = worker.phase else { return };
        if !matches!(step, Step::Probe(_) | Step::Revoke) {
            self.ghost = Some((step, subject(&worker.progress.record, step), since + AT_WORK));
        }
    }

    /// Applies an outcome and writes it, as the store would take it.
    fn settle(&mut self, i: usize, step: Step, outcome: Outcome) {
        let Some(mut worker) = self.workers[i].take() else { return };
        let before = worker.progress.record.clone();
        let settings = self.settings();
        let moment = Moment { now: at(self.now), roll: 0.5, settings: &settings };
        worker.progress = apply(worker.progress, step, outcome, &moment);
        worker.phase = Phase::Deciding;
        let after = &worker.progress.record;
        let resting = matches!(step, Step::Rest(_));
        let answered = matches!(step, Step::Spend(_)) && after.generation != before.generation;
        if before == *after && !resting {
            self.workers[i] = Some(worker);
            self.probe_at_once(i);
            return;
        }
        let intent = |record: &Record| record.intent.map(|intent| intent.attempt);
        let stands = self.record.generation == before.generation
            && self.record.state.code() == before.state.code()
            && !matches!(self.record.state, State::Ended(_))
            && if answered { intent(&self.record) == intent(&before) } else { worker.fence == self.fence };
        if !stands {
            return;
        }
        let change = record::change(&record::encode(&before), &record::encode(after));
        let mut fields = record::encode(&self.record);
        fields.extend(change.set);
        for gone in change.remove {
            fields.remove(&gone);
        }
        self.record = record::decode(&fields).expect("a change of a record makes a record");
        if resting || matches!(self.record.state, State::Ended(_)) {
            self.lease_until = None;
        } else {
            self.workers[i] = Some(worker);
            self.probe_at_once(i);
        }
    }
}

enum Carried {
    Probed(bool),
    Granted(Result<PairId, tokenvault_core::ports::Refusal>),
    Revoked,
}

/// The pair a step is about.
fn subject(record: &Record, step: Step) -> PairId {
    let slot = match step {
        Step::Probe(slot) | Step::Exchange(slot) | Step::Spend(slot) => slot,
        _ => Slot::Current,
    };
    record.slot(slot).map_or(0, |token| number(&token.sealed))
}
