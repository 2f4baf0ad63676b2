//! Generated histories: the same calls are made to two stores, and every answer and every state in between must agree.
//!
//! A [`Move`] is what a generator can make up; it becomes a `Call` with the help of what the players have seen so far (a
//! record as it was read some time ago, a lease that may be stale, a call whose answer was lost).

use proptest::prelude::*;
use tokenvault_core::ids::{AttemptId, Fence, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey};
use tokenvault_core::ports::{Claimed, Created, Join, Joined, Lease, SessionEntry, Stored, TokenStore, Write, Written};
use tokenvault_core::record::{Record, State, Suspension};
use tokenvault_core::time::Timestamp;

use super::bench::{claim, replica};
use super::entries::untimed;
use super::samples::{NOW, after, declared, ended, job, neighbours, record, releasing, rotated, session, tenant, user};
use crate::harness::{Failure, Result};

/// How many jobs take part; all live in one shard, so that claims meet them together.
const JOBS: usize = 3;

/// What a writer makes of the record it has seen.
#[derive(Debug, Clone, Copy)]
pub enum Aim {
    Rotate,
    Declare,
    Rest,
    Suspend,
    Tighten,
    Release,
    End,
}

/// One move of a history.
#[derive(Debug, Clone)]
pub enum Move {
    Create { job: usize, replacing: bool, due: u64 },
    Write { job: usize, aim: Aim, due: u64, seen: usize, lease: Option<usize>, give_back: bool, answering: bool },
    Claim { limit: usize },
    Hasten { job: usize, later: u64 },
    Holds { lease: usize },
    Join { session: usize, job: usize, attempt: u64 },
    Enter { session: usize, job: usize },
    Settle { session: usize, job: usize, attempt: u64 },
    Withdraw { session: usize, job: usize, attempt: u64 },
    Leave { session: usize, job: usize },
    Supersede { session: usize, seen: u64 },
    EnterUser { job: usize },
    LeaveUser { job: usize },
    EnterChild { parent: usize, child: usize },
    LeaveParent { parent: usize, child: usize },
    Repeat { back: usize },
    Pass { millis: u64 },
}

/// Makes up moves; writes and claims come up most.
pub fn a_move() -> impl Strategy<Value = Move> {
    let aim = prop_oneof![
        3 => Just(Aim::Rotate), 2 => Just(Aim::Declare), 3 => Just(Aim::Rest), 1 => Just(Aim::Suspend),
        2 => Just(Aim::Tighten), 1 => Just(Aim::Release), 1 => Just(Aim::End),
    ];
    let lease = prop_oneof![Just(None), (0..3_usize).prop_map(Some)];
    let seen = prop_oneof![4 => Just(0_usize), 1 => 1..4_usize];
    let write = (0..JOBS, aim, 0..60_000_u64, seen, lease, any::<bool>(), prop::bool::weighted(0.3)).prop_map(
        |(job, aim, due, seen, lease, give_back, answering)| Move::Write {
            job,
            aim,
            due,
            seen,
            lease,
            give_back,
            answering,
        },
    );
    prop_oneof![
        3 => (0..JOBS, any::<bool>(), 0..60_000_u64).prop_map(|(job, replacing, due)| Move::Create { job, replacing, due }),
        10 => write,
        5 => (0..4_usize).prop_map(|limit| Move::Claim { limit }),
        2 => (0..JOBS, prop::sample::select(vec![0, 25_000])).prop_map(|(job, later)| Move::Hasten { job, later }),
        2 => (0..3_usize).prop_map(|lease| Move::Holds { lease }),
        2 => (0..2_usize, 0..JOBS, 0..3_u64).prop_map(|(session, job, attempt)| Move::Join { session, job, attempt }),
        1 => (0..2_usize, 0..JOBS).prop_map(|(session, job)| Move::Enter { session, job }),
        1 => (0..2_usize, 0..JOBS, 0..3_u64).prop_map(|(session, job, attempt)| Move::Settle { session, job, attempt }),
        1 => (0..2_usize, 0..JOBS, 0..3_u64).prop_map(|(session, job, attempt)| Move::Withdraw { session, job, attempt }),
        1 => (0..2_usize, 0..JOBS).prop_map(|(session, job)| Move::Leave { session, job }),
        1 => (0..2_usize, 0..3_u64).prop_map(|(session, seen)| Move::Supersede { session, seen }),
        1 => (0..JOBS).prop_map(|job| Move::EnterUser { job }),
        1 => (0..JOBS).prop_map(|job| Move::LeaveUser { job }),
        1 => (0..JOBS, 0..JOBS).prop_map(|(parent, child)| Move::EnterChild { parent, child }),
        1 => (0..JOBS, 0..JOBS).prop_map(|(parent, child)| Move::LeaveParent { parent, child }),
        4 => (0..18_usize).prop_map(|back| Move::Repeat { back }),
        3 => prop_oneof![0..100_u64, 0..40_000_u64].prop_map(|millis| Move::Pass { millis }),
    ]
}

/// A call that can be made to any store, and made again.
#[derive(Debug, Clone)]
enum Call {
    Create { record: Box<Record>, replaces: Option<Generation>, attempt: AttemptId },
    Write { before: Box<Record>, after: Box<Record>, attempt: AttemptId, terms: Terms },
    Claim { now: Timestamp, limit: usize },
    Hasten { key: JobKey, due: Timestamp, renew: Timestamp },
    Holds { key: JobKey, fence: Fence, until: Timestamp },
    Join { session: SessionKey, job: JobId, attempt: AttemptId },
    Enter { session: SessionKey, job: JobId },
    Settle { session: SessionKey, job: JobId, attempt: AttemptId },
    Withdraw { session: SessionKey, job: JobId, attempt: AttemptId },
    Leave { session: SessionKey, job: JobId },
    Supersede { session: SessionKey, seen: Incarnation },
    EnterUser { key: JobKey },
    LeaveUser { key: JobKey },
    EnterChild { parent: JobKey, child: JobId },
    LeaveParent { parent: JobKey, child: JobId },
}

#[derive(Debug, Clone, Copy)]
struct Terms {
    fence: Option<Fence>,
    give_back: bool,
    answering: bool,
}

/// What a store answered.
#[derive(Debug, PartialEq)]
enum Answer {
    Created(Created),
    Written(Written),
    Claimed(Vec<(Record, Fence, Timestamp, Timestamp)>),
    Joined(Joined),
    Incarnation(Incarnation),
    Yes(bool),
    Nothing,
}

/// All that can be seen of a store.
#[derive(Debug, PartialEq)]
struct Sight {
    records: Vec<Option<Stored>>,
    due: Vec<u64>,
    sessions: Vec<Option<SessionEntry>>,
    user: Vec<JobId>,
}

/// What the players of a history have seen.
struct Players {
    jobs: Vec<JobKey>,
    now: Timestamp,
    attempts: u64,
    seen: Vec<Vec<Record>>,
    leases: Vec<(JobKey, Fence, Timestamp)>,
    made: Vec<Call>,
}

/// Plays a history against two stores.
pub async fn agree(one: &dyn TokenStore, other: &dyn TokenStore, moves: &[Move]) -> Result<()> {
    let mut players = Players::new();
    let mut before = players.look(one).await?;
    for (number, step) in moves.iter().enumerate() {
        let Some(call) = players.prepare(step) else { continue };
        let answers = (players.make(one, &call).await?, players.make(other, &call).await?);
        let sights = (players.look(one).await?, players.look(other).await?);
        if answers.0 != answers.1 || sights.0 != sights.1 {
            return Err(Failure::new(format!(
                "move {number}, {call:?}\nanswers: {answers:#?}\nfirst store: {:#?}\nsecond store: {:#?}",
                sights.0, sights.1
            )));
        }
        before.leads_to(&sights.0).map_err(|failure| failure.context(format!("move {number}, {call:?}")))?;
        players.learn(call, &answers.0, &sights.0);
        before = sights.0;
    }
    Ok(())
}

impl Sight {
    /// What no history may do.
    fn leads_to(&self, next: &Self) -> Result<()> {
        for (was, is) in self.records.iter().zip(&next.records) {
            let (Some(was), Some(is)) = (was, is) else { continue };
            if is.fence < was.fence || is.record.generation < was.record.generation {
                return Err(Failure::new("a fence or a generation went back"));
            }
            let revived = matches!(was.record.state, State::Ended(_)) && !matches!(is.record.state, State::Ended(_));
            if revived && is.record.generation == was.record.generation {
                return Err(Failure::new("an ended record came back to life"));
            }
        }
        Ok(())
    }
}

impl Players {
    fn new() -> Self {
        let jobs = neighbours("h", JOBS);
        Self { now: NOW, attempts: 0, seen: vec![Vec::new(); JOBS], leases: Vec::new(), made: Vec::new(), jobs }
    }

    fn attempt(&mut self) -> AttemptId {
        self.attempts += 1;
        AttemptId::from_bits(self.attempts)
    }

    fn prepare(&mut self, step: &Move) -> Option<Call> {
        let session = |n: usize| session(["s1", "s:2"][n], "vault");
        Some(match *step {
            Move::Pass { millis } => {
                self.now = self.now + std::time::Duration::from_millis(millis);
                return None;
            }
            Move::Repeat { back } => self.made.iter().rev().nth(back)?.clone(),
            Move::Create { job, replacing, due } => {
                let mut record = record(&self.jobs[job], self.now + std::time::Duration::from_millis(due));
                let replaces = self.seen[job].last().filter(|_| replacing).map(|last| last.generation);
                record.generation = replaces.map_or(Generation(1), Generation::next);
                Call::Create { record: Box::new(record), replaces, attempt: self.attempt() }
            }
            Move::Write { job, aim, due, seen, lease, give_back, answering } => {
                let before = self.seen[job].iter().rev().nth(seen)?.clone();
                let attempt = self.attempt();
                let aimed = aimed(&before, aim, self.now + std::time::Duration::from_millis(due), attempt);
                let fence = lease.and_then(|back| self.lease_of(job, back)).map(|(_, fence, _)| fence);
                let terms = Terms { fence, give_back, answering };
                Call::Write { before: Box::new(before), after: Box::new(aimed), attempt, terms }
            }
            Move::Claim { limit } => Call::Claim { now: self.now, limit },
            Move::Hasten { job, later } => {
                let (due, renew) = (self.now, self.now + std::time::Duration::from_millis(later));
                Call::Hasten { key: self.jobs[job].clone(), due, renew }
            }
            Move::Holds { lease } => {
                let (key, fence, until) = self.leases.iter().rev().nth(lease)?.clone();
                Call::Holds { key, fence, until }
            }
            Move::Join { session: n, job, attempt } => Call::Join {
                session: session(n),
                job: self.jobs[job].job.clone(),
                attempt: AttemptId::from_bits(attempt),
            },
            Move::Enter { session: n, job } => Call::Enter { session: session(n), job: self.jobs[job].job.clone() },
            Move::Settle { session: n, job, attempt } => {
                let attempt = AttemptId::from_bits(attempt);
                Call::Settle { session: session(n), job: self.jobs[job].job.clone(), attempt }
            }
            Move::Withdraw { session: n, job, attempt } => {
                let attempt = AttemptId::from_bits(attempt);
                Call::Withdraw { session: session(n), job: self.jobs[job].job.clone(), attempt }
            }
            Move::Leave { session: n, job } => Call::Leave { session: session(n), job: self.jobs[job].job.clone() },
            Move::Supersede { session: n, seen } => Call::Supersede { session: session(n), seen: Incarnation(seen) },
            Move::EnterUser { job } => Call::EnterUser { key: self.jobs[job].clone() },
            Move::LeaveUser { job } => Call::LeaveUser { key: self.jobs[job].clone() },
            Move::EnterChild { parent, child } => {
                Call::EnterChild { parent: self.jobs[parent].clone(), child: job(&format!("child-{child}")) }
            }
            Move::LeaveParent { parent, child } => {
                Call::LeaveParent { parent: self.jobs[parent].clone(), child: job(&format!("child-{child}")) }
            }
        })
    }

    fn lease_of(&self, job: usize, back: usize) -> Option<(JobKey, Fence, Timestamp)> {
        self.leases.iter().rev().filter(|(key, ..)| *key == self.jobs[job]).nth(back).cloned()
    }

    async fn make(&self, store: &dyn TokenStore, call: &Call) -> Result<Answer> {
        let keep_until = after(86_400_000);
        Ok(match call {
            Call::Create { record, replaces, attempt } => {
                Answer::Created(store.create(record, *replaces, *attempt).await?)
            }
            Call::Write { before, after, attempt, terms } => {
                let mut write = Write::between(before, after, *attempt);
                if terms.answering {
                    write = write.answering(before);
                }
                write.guard.fence = terms.fence;
                write.release_lease = terms.give_back;
                Answer::Written(store.write(&write).await?)
            }
            Call::Claim { now, limit } => {
                let claimed = store.claim(self.jobs[0].shard(), &claim(&replica("r1"), *now, *limit)).await?;
                Answer::Claimed(claimed.into_iter().map(taken).collect())
            }
            Call::Hasten { key, due, renew } => {
                store.make_due(key, *due, *renew).await?;
                Answer::Nothing
            }
            Call::Holds { key, fence, until } => {
                Answer::Yes(store.holds(&Lease { key: key.clone(), fence: *fence, until: *until }).await?)
            }
            Call::Join { session, job, attempt } => {
                let by = ModuleName::parse("mod-a").expect("a module");
                let join = Join { session, job, attempt: *attempt, by: &by, keep_until, most_jobs: 100 };
                Answer::Joined(store.join_session(&join).await?)
            }
            Call::Enter { session, job } => Answer::Incarnation(store.enter_session(session, job, keep_until).await?),
            Call::Settle { session, job, attempt } => {
                store.finish_join(session, job, *attempt).await?;
                Answer::Nothing
            }
            Call::Withdraw { session, job, attempt } => {
                store.cancel_join(session, job, *attempt).await?;
                Answer::Nothing
            }
            Call::Leave { session, job } => {
                store.leave_session(session, job).await?;
                Answer::Nothing
            }
            Call::Supersede { session, seen } => Answer::Incarnation(store.supersede_session(session, *seen).await?),
            Call::EnterUser { key } => {
                store.add_to_user(&user(), key, keep_until).await?;
                Answer::Nothing
            }
            Call::LeaveUser { key } => {
                store.remove_from_user(&user(), key).await?;
                Answer::Nothing
            }
            Call::EnterChild { parent, child } => Answer::Yes(store.add_child(parent, child, 2).await?),
            Call::LeaveParent { parent, child } => {
                store.remove_child(parent, child).await?;
                Answer::Nothing
            }
        })
    }

    fn learn(&mut self, call: Call, answer: &Answer, sight: &Sight) {
        if let Answer::Claimed(claimed) = answer {
            self.leases.extend(claimed.iter().map(|(record, fence, until, _)| (record.key.clone(), *fence, *until)));
        }
        for (seen, stored) in self.seen.iter_mut().zip(&sight.records) {
            if let Some(stored) = stored.as_ref().filter(|stored| seen.last() != Some(&stored.record)) {
                seen.push(stored.record.clone());
            }
        }
        // A claim is no repetition of itself: it asks for what is due by then.
        if !matches!(call, Call::Claim { .. }) {
            self.made.push(call);
        }
    }

    async fn look(&self, store: &dyn TokenStore) -> Result<Sight> {
        let mut sight = Sight { records: Vec::new(), due: Vec::new(), sessions: Vec::new(), user: Vec::new() };
        for key in &self.jobs {
            sight.records.push(store.load(key).await?);
        }
        // Where each record's entry in the due index is shows in how many are due at the instants records speak of.
        let mut instants = vec![self.now];
        for stored in sight.records.iter().flatten() {
            instants.extend(stored.record.due_at);
            instants.extend(stored.leased_until);
        }
        for at in instants {
            sight.due.push(store.count_due(self.jobs[0].shard(), at).await?);
        }
        for sid in ["s1", "s:2"] {
            sight.sessions.push(store.session(&session(sid, "vault")).await?.map(untimed));
        }
        sight.user = store.jobs_of_user(&tenant(), &user(), None, JOBS).await?;
        Ok(sight)
    }
}

fn taken(claimed: Claimed) -> (Record, Fence, Timestamp, Timestamp) {
    (claimed.record, claimed.lease.fence, claimed.lease.until, claimed.due_at)
}

fn aimed(before: &Record, aim: Aim, due_at: Timestamp, attempt: AttemptId) -> Record {
    match aim {
        Aim::Rotate if before.pair.is_some() => rotated(before, due_at),
        Aim::Declare if before.pair.is_some() => declared(before, attempt),
        Aim::Rotate | Aim::Declare | Aim::Rest => Record { due_at: Some(due_at), ..before.clone() },
        Aim::Suspend => {
            Record { state: State::Suspended(Suspension::ConsentMissing), due_at: Some(due_at), ..before.clone() }
        }
        Aim::Tighten => {
            let mut after = before.clone();
            let name = format!("mod-{}", before.readers.len());
            after.readers.insert(ModuleName::parse(name).expect("a module"));
            after
        }
        Aim::Release => releasing(before, due_at),
        Aim::End => ended(before),
    }
}
