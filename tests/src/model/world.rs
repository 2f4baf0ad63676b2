//! Jobs in one user session, two replicas, a registrant, Keycloak, and everything that can go wrong between them, one
//! event at a time.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use tokenvault_core::ids::StoreEpoch;
use tokenvault_core::policy::{Request, Settings, Step, StepOutcome};
use tokenvault_core::record::{Acquisition, Record, State};
use tokenvault_core::time::Timestamp;

use super::canon::Canon;
use super::job::{Entry, FIRST_EPOCH, InFlight, Job, Named, Phase, Snapshot, Worker, at, first_record, held, number};
use super::judge::{Gap, Violation};
use super::keycloak::Keycloak;

/// For how long a no is doubted, and how long Keycloak must have erred for a job to be lost by it. The first no begins the
/// doubt, and the second is the last.
pub const DOUBT: Duration = Duration::from_secs(5);

/// What is taken for granted.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The tenant's settings.
    pub settings: Settings,
    /// How long a claim holds.
    pub lease: Duration,
    /// How long after it was sent a request may still be carried out.
    pub at_work: Duration,
    /// Whether the session's entry is read again right before an exchange.
    pub looks_again: bool,
    /// Whether nothing is exchanged while another job is joining.
    pub minds_joining: bool,
    /// How long Keycloak errs at most; it sees its sessions again before this is over.
    pub errs_for: Duration,
    /// Whether replicas and Keycloak do at once what there is to do, so that time passes only where there is nothing.
    pub prompt: bool,
    /// How much life an access token must have left when the key of its refresh token is deleted, for the job to be lost
    /// needlessly whatever came after. Nothing can be said where replicas may dawdle.
    pub in_time: Option<Duration>,
    /// How long after the end of its session a job may still be active; the same.
    pub ends_within: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        let at_work = Duration::from_secs(15);
        let (doubt, doubt_pause) = (DOUBT, DOUBT);
        let settings = Settings { jitter: 0.0, quarantine: 2 * at_work, doubt, doubt_pause, ..Settings::default() };
        Self {
            settings,
            lease: Duration::from_secs(15),
            at_work,
            looks_again: true,
            minds_joining: true,
            errs_for: DOUBT,
            prompt: false,
            in_time: None,
            ends_within: None,
        }
    }
}

/// How much may still happen on this path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Budget {
    /// Crashes, lost requests, lost answers, requests that arrive late.
    pub faults: u8,
    /// Logouts, revocations and reuses by others.
    pub others: u8,
    /// Further registrations.
    pub newcomers: u8,
    /// Releases.
    pub releases: u8,
    /// Rollbacks of a record in the store.
    pub rollbacks: u8,
    /// Times in which Keycloak errs.
    pub errors: u8,
    /// Keys of the realm that are deleted.
    pub keys: u8,
    /// Jobs whose access token becomes too long to be exchanged.
    pub oversized: u8,
    /// Logouts that are announced by a signed token.
    pub announcements: u8,
}

/// A registration under way.
#[derive(Debug, Clone)]
pub(super) struct Registrant {
    pub(super) job: usize,
    pub(super) serial: u8,
    pub(super) entry: Entry,
    pub(super) since: Timestamp,
    /// Whether anybody waits for the answer.
    pub(super) alive: bool,
    pub(super) answer: Option<Named>,
}

/// An event. Jobs and replicas are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Time passes to the next instant that matters.
    Tick,
    /// A replica claims a record and reads the session's entry.
    Claim(u8),
    /// A replica decides, and writes, probes or sends.
    Act(u8, u8),
    /// A probe, or the question about an access token, is not answered.
    ProbeFails(u8, u8),
    /// A request arrives and is carried out.
    Arrive(u8, u8),
    /// Its answer is heard, applied and written.
    Hear(u8, u8),
    /// The request never arrives.
    LoseRequest(u8, u8),
    /// The replica gives up waiting; the request arrives later.
    Stall(u8, u8),
    /// The answer is lost.
    LoseAnswer(u8, u8),
    /// The replica dies; what it sent may still arrive.
    Crash(u8, u8),
    /// A request whose sender has given it up arrives.
    Ghost(u8),
    /// The user logs out.
    LogOut,
    /// Somebody revokes the vault's client session, or sends a spent refresh token of it.
    Detach,
    /// Keycloak announces that it ends the user's session, and does so a moment later.
    Announce,
    /// Keycloak begins to say of every session that it is over.
    ErrBegins,
    /// It sees them again.
    ErrEnds,
    /// The key that refresh tokens are made with is deleted.
    DeleteHmacKey,
    /// The key that access tokens are signed with is deleted.
    DeleteSigningKey,
    /// The access tokens of a job have become too long to be exchanged.
    Outgrow(u8),
    /// The user registers another job: it joins the session's entry.
    Join(u8),
    /// Its exchange arrives, and creates the client session anew where it is gone.
    Register,
    /// The answer is heard and the record created.
    Registered,
    /// The registrant dies, or gives up; its exchange may still arrive.
    RegistrantDies,
    /// The registrant's exchange never arrives.
    RegistrationLost,
    /// A job is released.
    Release(u8),
    /// What the store has now is what it will go back to.
    Remember(u8),
    /// The store goes back.
    GoBack,
}

/// The whole.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) rules: Arc<Rules>,
    pub(super) now: Timestamp,
    pub(super) keycloak: Keycloak,
    pub(super) entry: Entry,
    pub(super) jobs: [Option<Job>; 2],
    pub(super) ghosts: Vec<(usize, InFlight)>,
    pub(super) registrant: Option<Registrant>,
    pub(super) serials: u8,
    pub(super) snapshot: Option<Snapshot>,
    /// The life that the store is in.
    pub(super) epoch: StoreEpoch,
    /// Keycloak has erred for longer than it is doubted.
    pub(super) misled: bool,
    /// When others ended the session, where it matters.
    pub(super) ended_at: Option<Timestamp>,
    pub(super) budget: Budget,
    pub(super) violation: Option<Violation>,
    pub(super) gap: Option<Gap>,
}

impl World {
    /// Jobs just registered, one or two, in one user session; an impersonated one watches that session if `anchored`.
    pub fn new(rules: Rules, acquisition: Acquisition, jobs: usize, anchored: bool, budget: Budget) -> Self {
        let mut keycloak = Keycloak::new();
        let mut entry = Entry::default();
        let mut make = |place: usize| {
            (place < jobs).then(|| {
                entry.members[place] = u8::try_from(place + 1).expect("two jobs at most");
                let anchor = anchored.then(|| keycloak.first(at(0)));
                let own = match acquisition {
                    Acquisition::Impersonate => keycloak.impersonate(at(0)),
                    Acquisition::Exchange | Acquisition::Adopt => keycloak.first(at(0)),
                };
                let mut record = first_record(acquisition, own, anchor, at(0));
                if acquisition == Acquisition::Impersonate {
                    record.session = Some(super::job::session("o", tokenvault_core::ids::Incarnation::default()));
                }
                Job::new(record)
            })
        };
        let jobs = [make(0), make(1)];
        Self {
            rules: Arc::new(rules),
            now: at(0),
            keycloak,
            entry,
            jobs,
            ghosts: Vec::new(),
            registrant: None,
            serials: 2,
            snapshot: None,
            epoch: FIRST_EPOCH,
            misled: false,
            ended_at: None,
            budget,
            violation: None,
            gap: None,
        }
    }

    /// The gap that this state fell through, if it did. Nothing after it is looked at.
    pub fn gap(&self) -> Option<Gap> {
        self.gap
    }

    /// The record of the job at a place.
    pub fn record(&self, place: usize) -> Option<&Record> {
        self.jobs[place].as_ref().map(|job| &*job.record)
    }

    /// Whether the user's session lives, and the vault's client session in it.
    pub fn sessions_live(&self) -> (bool, bool) {
        self.keycloak.lives()
    }

    /// Whether a job has come to its end.
    pub fn has_ended(&self) -> bool {
        self.jobs.iter().flatten().any(|job| job.over)
    }

    /// Whether a job has been renewed.
    pub fn has_renewed(&self) -> bool {
        let first = super::canon::FIRST_GENERATION;
        self.jobs.iter().flatten().any(|job| job.record.generation.0 > first)
    }

    /// The state after an event.
    #[must_use]
    pub fn after(&self, event: Event) -> Self {
        let mut next = self.clone();
        next.happen(event);
        next.forget();
        next
    }

    /// Forgets what can make no difference any more: replicas that can neither send nor write, pairs that nobody holds.
    fn forget(&mut self) {
        let may_go_back = self.snapshot.is_some() || self.budget.rollbacks > 0;
        for (place, job) in self.jobs.iter_mut().enumerate() {
            let Some(job) = job else { continue };
            let ended = matches!(job.record.state, State::Ended(_));
            for slot in &mut job.workers {
                let powerless = |worker: &Arc<Worker>| worker.fence != job.fence || ended;
                let Some(worker) = slot.as_ref().filter(|worker| powerless(worker) && !may_go_back) else { continue };
                match &worker.phase {
                    Phase::Deciding => *slot = None,
                    Phase::Answered(step, ..) if !is_spend(*step) => *slot = None,
                    Phase::Sent(request) if !is_spend(request.step) => {
                        self.ghosts.push((place, request.clone()));
                        *slot = None;
                    }
                    _ => {}
                }
            }
        }
        let mut bits = self.snapshot.as_ref().map_or(0, |snapshot| held(&snapshot.record));
        for job in self.jobs.iter().flatten() {
            bits |= held(&job.record);
            for worker in job.workers.iter().flatten() {
                bits |= worker.holds_pairs();
            }
        }
        let ghosts = self.ghosts.iter().map(|(_, request)| request.pair.0);
        let waiting = self.registrant.iter().filter_map(|registrant| registrant.answer.map(|pair| pair.0));
        bits = ghosts.chain(waiting).fold(bits, |bits, pair| bits | 1 << pair);
        self.keycloak.keep_only(bits);
    }

    /// What tells this state from others, in 128 bits: the same for states that differ only in how jobs, replicas and
    /// pairs are numbered and in how long ago it all began.
    pub fn fingerprint(&self) -> u128 {
        let mut jobs = [0, 1].map(|place| self.hash_job(place));
        jobs.sort_unstable();
        let mut canon = Canon::new(&self.keycloak, self.now, 0, 0);
        (jobs[0], jobs[1]).hash(&mut canon);
        self.keycloak.hash_users(&mut canon);
        (self.budget, self.serials, self.violation, self.gap).hash(&mut canon);
        (self.epoch, self.misled, self.ended_at).hash(&mut canon);
        canon.bits()
    }

    fn hash_job(&self, place: usize) -> u128 {
        let Some(job) = &self.jobs[place] else {
            let mut canon = Canon::new(&self.keycloak, self.now, 0, 0);
            self.hash_around(place, &mut canon);
            return canon.bits();
        };
        let mut canon = Canon::new(&self.keycloak, self.now, job.record.generation.0, job.fence);
        job.record.hash(&mut canon);
        (job.lease, job.over, job.unheard, job.robbed, job.lost_intent, job.oversized).hash(&mut canon);
        let mut workers: Vec<&Worker> = job.workers.iter().flatten().map(Arc::as_ref).collect();
        if let [one, other] = workers[..] {
            let bits = |worker: &Worker| {
                let mut alone = canon.clone();
                worker.hash(&job.record, place, &mut alone);
                alone.bits()
            };
            if bits(other) < bits(one) {
                workers.swap(0, 1);
            }
        }
        for worker in workers {
            worker.hash(&job.record, place, &mut canon);
        }
        self.hash_around(place, &mut canon);
        canon.bits()
    }

    /// What belongs to a job's place beside its record.
    fn hash_around(&self, place: usize, canon: &mut Canon<'_>) {
        self.entry.hash_from(place, canon);
        for (_, ghost) in self.ghosts.iter().filter(|(job, _)| *job == place) {
            (ghost.step, ghost.pair, ghost.since, ghost.probed).hash(canon);
            ghost.seen.hash_from(place, canon);
        }
        if let Some(registrant) = self.registrant.as_ref().filter(|registrant| registrant.job == place) {
            let Registrant { job: _, serial, entry, since, alive, answer } = registrant;
            (serial, entry.incarnation, since, alive, answer).hash(canon);
        }
        if let Some(snapshot) = self.snapshot.as_ref().filter(|snapshot| snapshot.job == place) {
            let Snapshot { job: _, record, lease, spent } = snapshot;
            (record, lease, spent).hash(canon);
        }
    }
}

fn is_spend(step: Step) -> bool {
    matches!(step.request(), Some(Request::Refresh(_)))
}

impl Worker {
    fn hash(&self, stored: &Record, place: usize, canon: &mut Canon<'_>) {
        let Self { fence, until, round, seen, probed, phase } = self;
        if round.record == *stored {
            0_u8.hash(canon);
        } else {
            (1_u8, &round.record).hash(canon);
        }
        (fence, until, &round.findings, probed).hash(canon);
        seen.hash_from(place, canon);
        match phase {
            Phase::Sent(InFlight { step, pair, since, seen, probed }) => {
                (1_u8, step, pair, since, probed).hash(canon);
                seen.hash_from(place, canon);
            }
            other => other.hash(canon),
        }
    }

    fn holds_pairs(&self) -> u64 {
        let bits = held(&self.round.record);
        match &self.phase {
            Phase::Sent(request) => bits | 1 << request.pair.0,
            Phase::Answered(_, outcome, _) => match &**outcome {
                StepOutcome::Issued(issued) => bits | 1 << number(&issued.pair.access),
                _ => bits,
            },
            Phase::Deciding | Phase::Closing(_) => bits,
        }
    }
}
