//! Everything that is outside the replicas: time, chance, the store, Keycloak, and what happens to them.
//!
//! A replica reaches the world through its ports alone, and each time it does, [`World::strike`] draws what befalls it.

use std::collections::{HashSet, VecDeque};

use futures::FutureExt;
use keycloak_double::Keycloak;
use parking_lot::Mutex;
use std::sync::Arc;
use tokenvault_core::ids::JobKey;
use tokenvault_core::memory::{MemoryStore, Snapshot};
use tokenvault_core::ports::JobStore;
use tokenvault_core::record::{Acquisition, Pair, Record, Slot};
use tokenvault_core::secret::TokenHash;
use tokio::sync::mpsc::UnboundedSender;

use super::dice::Dice;
use super::joins::Joins;
use super::oracle::{Line, Oracle};
use super::people::People;
use super::process::{Process, SimTime};
use super::trace::{Event, Trace};
use super::trouble::Trouble;
use super::weather::{Fault, Happening, Side, Weather};

/// Copies of the store are this far apart, and reach back a little further than a rollback does.
const COPY_EVERY_MS: u64 = 100;
const COPIES_KEPT_MS: u64 = 2_500;

/// The operation that looks at the store's clock.
pub const LOOK_AT_CLOCK: &str = "time";

/// Something for the play to see to.
#[derive(Debug, Clone, Copy)]
pub enum Errand {
    /// A replica is to be started again after so many milliseconds.
    Restart(usize, u64),
    /// A user is to be enabled again after so many milliseconds.
    Enable(usize, u64),
    /// One more job for a user.
    AnotherJob(usize),
}

/// Something that must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A refresh token was sent again after a refresh had been carried out with it.
    DoubleSpend,
    /// An access token was served that had expired.
    ExpiredServed,
    /// A user's session ended by an act of the vault's.
    UiSessionKilled,
    /// A job was lost that could have been saved.
    ExcessLoss,
}

/// What befalls an operation.
#[derive(Debug, Clone, Copy)]
pub struct Strike {
    /// On its way.
    pub fault: Fault,
    /// How long the way is, in milliseconds, each way.
    pub way_ms: u64,
    /// What happens once it was carried out.
    pub after: Option<Happening>,
}

/// What a job is to the world.
#[expect(clippy::struct_excessive_bools, reason = "independent marks, not the stages of one state")]
#[derive(Debug)]
pub struct Job {
    /// Whose it is.
    pub user: usize,
    /// Its name.
    pub key: JobKey,
    /// How its pair is come by.
    pub acquisition: Acquisition,
    /// Its line of tokens, of the pair that others can end.
    pub line: Option<Line>,
    /// The session that others can end, and when the line in it began.
    pub bound: Option<(String, u64)>,
    /// When its record was last created.
    pub created_at: u64,
    /// Whether the store has forgotten that.
    pub forgotten: bool,
    /// Whether its user was disabled when Keycloak was last asked about its pair.
    pub asked_while_disabled: bool,
    /// Whether its end could not be told from another: see [`World::given_up`].
    pub indistinct: bool,
    /// Whether the store has gone back in its life.
    pub set_back: bool,
}

/// What is known, drawn and counted.
pub struct State {
    /// Chance.
    pub dice: Dice,
    /// What happened.
    pub trace: Trace,
    /// The fate of tokens.
    pub oracle: Oracle,
    /// The jobs.
    pub jobs: Vec<Job>,
    /// Fault points passed.
    pub points: u64,
    /// Joins of session entries, and looks at them.
    pub joins: Joins,
    /// User sessions ended by an exchange after whose last look at the entry somebody joined.
    pub gaps: u64,
    /// User sessions ended by an exchange because the store had lost a join.
    pub joins_lost: u64,
    /// Jobs that served again after a module had been told that they were over.
    pub revived: u64,
    /// What must never be, and when it was.
    pub violations: Vec<(u64, Violation)>,
    /// What is wrong with Keycloak itself.
    pub trouble: Trouble,
    /// When the storm was over.
    pub calm_at: Option<u64>,
    weather: Weather,
    calm: bool,
    store_back_at: u64,
    keycloak_back_at: u64,
    copies: VecDeque<(u64, Snapshot)>,
}

/// See the module.
pub struct World {
    /// The true time.
    pub time: SimTime,
    /// The store's rules.
    pub store: MemoryStore,
    /// Keycloak's rules.
    pub keycloak: Mutex<Keycloak>,
    /// Users and their interfaces.
    pub people: Mutex<People>,
    /// The rest.
    pub state: Mutex<State>,
    /// All processes there were.
    pub processes: Mutex<Vec<Arc<Process>>>,
    errands: UnboundedSender<Errand>,
}

impl World {
    /// A world at its beginning.
    pub fn new(
        time: SimTime,
        keycloak: Keycloak,
        people: People,
        (dice, weather): (Dice, Weather),
        trace: Trace,
        errands: UnboundedSender<Errand>,
    ) -> Self {
        let state = State {
            dice,
            trace,
            oracle: Oracle::default(),
            jobs: Vec::new(),
            points: 0,
            joins: Joins::default(),
            gaps: 0,
            joins_lost: 0,
            revived: 0,
            violations: Vec::new(),
            trouble: Trouble::default(),
            calm_at: None,
            weather,
            calm: false,
            store_back_at: 0,
            keycloak_back_at: 0,
            copies: VecDeque::new(),
        };
        Self {
            time,
            store: MemoryStore::new(Arc::new(time)),
            keycloak: Mutex::new(keycloak),
            people: Mutex::new(people),
            state: Mutex::new(state),
            processes: Mutex::default(),
            errands,
        }
    }

    /// Milliseconds since the beginning.
    pub fn now(&self) -> u64 {
        self.time.elapsed_ms()
    }

    /// From now on nothing happens any more.
    pub fn calm_down(&self) {
        let mut state = self.state.lock();
        state.calm = true;
        state.calm_at = Some(self.now());
        state.trouble.end();
        (state.store_back_at, state.keycloak_back_at) = (0, 0);
        drop(state);
        for process in self.processes.lock().iter() {
            process.machine.set_off_by(0);
        }
        self.note(None, "world", "calm", 0);
    }

    /// A fault point: draws what befalls one operation, and lets happen what happens just before it.
    pub fn strike(&self, process: &Process, side: Side, what: &'static str, number: u64) -> Strike {
        let now = self.now();
        let mut locked = self.state.lock();
        let State { dice, weather, trace, points, calm, .. } = &mut *locked;
        let way_ms = if side == Side::Store { dice.below(3) } else { dice.between(1, 20) };
        let (mut fault, mut happening) = (Fault::None, None);
        if !*calm {
            fault = weather.fault(side, dice);
            happening = weather.happening(dice);
        }
        let early = happening.is_some() && dice.below(2) == 0;
        // Looking at the store's clock is done all the time, and is a point only where something befalls it.
        if what != LOOK_AT_CLOCK || fault != Fault::None || happening.is_some() {
            *points += 1;
            trace.note(Event { at: now, process: Some(process.id), what, how: fault.name(), number });
        }
        let back_at = if side == Side::Store { locked.store_back_at } else { locked.keycloak_back_at };
        if now < back_at && !matches!(fault, Fault::CrashBefore) {
            fault = Fault::Refused;
        }
        drop(locked);
        if let (true, Some(happening)) = (early, happening) {
            self.happen(process, happening);
        }
        Strike { fault, way_ms, after: happening.filter(|_| !early) }
    }

    /// Notes what came of an operation, or what happened.
    pub fn note(&self, process: Option<&Process>, what: &'static str, how: &'static str, number: u64) {
        let event = Event { at: self.now(), process: process.map(|process| process.id), what, how, number };
        self.state.lock().trace.note(event);
    }

    /// A remark in the full trace.
    pub fn remark(&self, text: impl FnOnce() -> String) {
        self.state.lock().trace.remark(text);
    }

    /// Notes what must never be.
    pub fn violate(&self, violation: Violation) {
        let now = self.now();
        let mut state = self.state.lock();
        state.violations.push((now, violation));
        state.trace.note(Event { at: now, process: None, what: "VIOLATION", how: name(violation), number: 0 });
    }

    /// Lets something happen.
    pub fn happen(&self, process: &Process, happening: Happening) {
        let now = self.now();
        match happening {
            Happening::Rollback(by) => self.roll_back(now.saturating_sub(by)),
            Happening::StoreAway(millis) => {
                self.state.lock().store_back_at = now + millis;
                self.note(None, "store", "away", millis);
            }
            Happening::KeycloakAway(millis) => {
                self.state.lock().keycloak_back_at = now + millis;
                self.note(None, "keycloak", "away", millis);
            }
            Happening::ClockJump(millis) => {
                process.machine.set_off_by(millis);
                self.note(Some(process), "clock", if millis < 0 { "back" } else { "ahead" }, millis.unsigned_abs());
            }
            Happening::Stop(millis) => {
                process.stop_until(self.time.now_ms() + millis);
                self.note(Some(process), "process", "stopped", millis);
            }
            Happening::Disabled(millis) => {
                let user = self.some_user();
                let may = self.state.lock().trouble.may_disable(now, millis);
                if may && self.set_enabled(user, false) {
                    self.send(Errand::Enable(user, millis));
                }
            }
            Happening::UiRefreshes => self.ui_refreshes(self.some_user()),
            Happening::UiLogsOut => self.ui_logs_out(self.some_user()),
            Happening::UiRevokes => self.ui_revokes(self.some_user()),
            Happening::Errs(millis) => self.errs(millis),
            Happening::Keys(act) => self.keys(act),
            Happening::TokenGrows => self.grow_tokens(self.some_user()),
            Happening::Freezes => process.freeze(),
            Happening::AnotherJob => self.send(Errand::AnotherJob(self.some_user())),
        }
    }

    fn some_user(&self) -> usize {
        let users = self.people.lock().count() as u64;
        usize::try_from(self.state.lock().dice.below(users)).expect("a handful of users")
    }

    fn send(&self, errand: Errand) {
        // The play has ended if nobody hears it.
        let _ = self.errands.send(errand);
    }

    /// A process dies; its replica comes back after a while with nothing in memory.
    pub fn crash(&self, process: &Process) {
        process.kill();
        let after = self.state.lock().dice.between(500, 20_000);
        self.note(Some(process), "process", "crashed", after);
        self.send(Errand::Restart(process.replica, after));
        self.state.lock().oracle.died(process.id);
        self.judge_all("died with its holder");
    }

    /// Whether a process lives.
    pub fn lives(&self, process: usize) -> bool {
        self.processes.lock().get(process).is_some_and(|process| process.lives())
    }

    /// Keeps a copy of the store before it is changed, now and then.
    pub fn keep_copy(&self) {
        let now = self.now();
        let mut state = self.state.lock();
        if state.calm || state.copies.back().is_some_and(|(at, _)| now < at + COPY_EVERY_MS) {
            return;
        }
        state.copies.push_back((now, self.store.snapshot()));
        while state.copies.front().is_some_and(|(at, _)| at + COPIES_KEPT_MS < now) {
            state.copies.pop_front();
        }
    }

    fn roll_back(&self, to: u64) {
        let now = self.now();
        let mut state = self.state.lock();
        let Some(at) = state.copies.iter().position(|(at, _)| *at >= to) else { return };
        let (then, copy) = state.copies[at].clone();
        state.copies.truncate(at);
        state.joins.roll_back(then);
        state.oracle.roll_back(then);
        for job in &mut state.jobs {
            job.set_back = true;
            job.forgotten |= job.created_at >= then;
        }
        drop(state);
        self.store.restore(copy);
        self.note(None, "store", "rolled-back", now - then);
        self.judge_all("lost with the store");
    }

    /// Keycloak was asked about the tokens of a line.
    pub fn asked_about(&self, line: Line) {
        let mut state = self.state.lock();
        let people = self.people.lock();
        for job in state.jobs.iter_mut().filter(|job| job.line == Some(line)) {
            job.asked_while_disabled = people.is_disabled(job.user);
        }
    }

    /// A job is given up because the fate of a spend is unknown and the probe says that its token is dead. Where its user was
    /// disabled when the probe was answered, nobody can tell that from the spend's having arrived. The same holds for a deposited token, which
    /// its owner may have spent.
    pub fn given_up(&self, key: &JobKey, reason: &[u8]) {
        let deposited = |pair: &Pair| pair.rotated && pair.refresh.sends > 0;
        let deposit = self.record(key).and_then(|record| record.pair).is_some_and(|pair| deposited(&pair));
        if reason != b"spend_lost" && !(reason == b"session_lost" && deposit) {
            return;
        }
        let mut state = self.state.lock();
        let Some(job) = state.jobs.iter_mut().find(|job| job.key == *key) else { return };
        job.indistinct |= job.asked_while_disabled || self.people.lock().is_disabled(job.user);
    }

    /// The record of a job as the store has it.
    pub fn record(&self, key: &JobKey) -> Option<Record> {
        let loaded = self.store.load(key).now_or_never().expect("the store in memory answers at once");
        loaded.ok().flatten().map(|stored| stored.record)
    }

    /// Takes note of which tokens the store has now. A new record is bound to the line its pair is of.
    pub fn observe(&self, key: &JobKey, created: bool) {
        let Some(record) = self.record(key) else { return };
        let now = self.now();
        let mut state = self.state.lock();
        let tokens: Vec<_> = record.tokens().collect();
        for token in tokens.into_iter().rev() {
            state.oracle.written(token.hash, token.sends > 0, now);
        }
        if !created {
            return;
        }
        let watched = if record.anchor.is_some() { Slot::Anchor } else { Slot::Current };
        let line = record.slot(watched).and_then(|token| state.oracle.line_of(token.hash));
        if let (Some(line), Some(spare)) = (line, &record.spare) {
            state.oracle.spared(spare.hash, line);
        }
        let session = record.anchor.as_ref().map(|anchor| &anchor.session).or(record.session.as_ref());
        let alone = record.owns_session() && record.anchor.is_none();
        let begun = line.and_then(|line| state.oracle.began(line)).unwrap_or(now);
        let bound = session.filter(|_| !alone).map(|session| (session.sid.as_str().to_owned(), begun));
        if let Some(job) = state.jobs.iter_mut().find(|job| job.key == *key) {
            (job.line, job.bound, job.created_at, job.forgotten) = (line, bound, now, false);
        }
    }

    /// Looks whether the jobs can still be saved.
    fn judge_all(&self, why: &'static str) {
        let lines: Vec<Line> = self.state.lock().jobs.iter().filter_map(|job| job.line).collect();
        for line in lines {
            self.judge(line, why);
        }
    }

    /// Looks whether the job of a line can still be saved.
    pub fn judge(&self, line: Line, why: &'static str) {
        let key = self.state.lock().jobs.iter().find(|job| job.line == Some(line)).map(|job| job.key.clone());
        let Some(key) = key else { return };
        let Some(record) = self.record(&key).filter(|record| record.state.is_live()) else { return };
        let stored: HashSet<TokenHash> = hashes(&record).collect();
        let now = self.now();
        let processes = self.processes.lock();
        let lives = |process: usize| processes.get(process).is_some_and(|process| process.lives());
        self.state.lock().oracle.judge(line, &stored, lives, now, why);
    }
}

fn hashes(record: &Record) -> impl Iterator<Item = TokenHash> {
    record.tokens().map(|token| token.hash)
}

/// For the trace and the report.
pub fn name(violation: Violation) -> &'static str {
    match violation {
        Violation::DoubleSpend => "double_spend",
        Violation::ExpiredServed => "expired_served",
        Violation::UiSessionKilled => "ui_session_killed",
        Violation::ExcessLoss => "excess_loss",
    }
}
