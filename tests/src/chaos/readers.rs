//! Modules that read all the while, at every replica, and look at what they are given.
//!
//! A read that meets a connection error, a time-out or a 5xx is asked once more, a quarter of a second later and at another
//! replica. What fails then counts, whatever the reason: `token_not_ready` does, and so does a second replica that is down.
//! An answer 410 is none of these: the job's end is counted elsewhere, once.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::REPLICAS;
use super::jobs::{Job, Jobs};
use super::stage::{READERS, Stage};
use crate::harness::Result;
use crate::harness::client::{Answer, Client};
use crate::harness::realm::{LabRealm, claims};
use crate::sim::dice::Dice;
use crate::stage::now;

/// Readers of each module, at most.
const READERS_EACH: usize = 4;
/// Jobs that one reader of each module is enough for.
const JOBS_EACH: usize = 12;
/// Between two reads of one reader.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a module waits for an answer: the vault's own `wait`, and some more.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between a read that failed and its second try.
const BACK_OFF: Duration = Duration::from_millis(250);
/// One token in so many is shown to Keycloak.
const SAMPLED: u64 = 20;

/// What all readers have seen.
#[derive(Debug, Default)]
pub struct Tally {
    reads: AtomicU64,
    /// Reads that needed their second try.
    pub retried: AtomicU64,
    /// Tokens of another user than the job's.
    pub foreign: AtomicU64,
    /// Tokens shown to Keycloak.
    pub sampled: AtomicU64,
    /// Those of them that Keycloak held to be inactive before their `exp`.
    pub inactive: AtomicU64,
    failures: Mutex<BTreeMap<String, u64>>,
    stale: Mutex<Vec<Stale>>,
}

/// An access token that was past its own `exp` at the moment it arrived. In seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub struct Stale {
    /// Who gave it.
    pub replica: usize,
    /// When the read began.
    pub asked: f64,
    /// When the answer was there.
    pub arrived: f64,
    /// The token's `exp`.
    pub expires: f64,
}

impl Tally {
    /// How many reads were done.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// How many failed, after the retry.
    pub fn failed(&self) -> u64 {
        self.failures().values().sum()
    }

    /// How often each kind of failure was met after the retry.
    pub fn failures(&self) -> BTreeMap<String, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The expired tokens.
    pub fn stale(&self) -> Vec<Stale> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn expired(&self, stale: Stale) {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).push(stale);
    }

    fn fail(&self, why: String) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Readers at work; they end when dropped.
pub struct Readers {
    tally: Arc<Tally>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Readers {
    /// What they have seen so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Lets every reader end the read it is at.
    pub async fn finish(mut self) -> Arc<Tally> {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.tally
    }
}

/// Starts them.
pub fn start(stage: &Stage, jobs: &Arc<Jobs>, seed: u64) -> Result<Readers> {
    let mut readers = Readers { tally: Arc::default(), stop: CancellationToken::new(), tasks: JoinSet::new() };
    let mut seeds = Dice::new(!seed);
    for module in READERS {
        let clients: Vec<Client> = (0..REPLICAS).map(|n| stage.vault.client_of(module, n)).collect::<Result<_>>()?;
        for _ in 0..jobs.jobs.len().div_ceil(JOBS_EACH).min(READERS_EACH) {
            let (tally, realm) = (readers.tally.clone(), stage.realm.clone());
            let reader = Reader { clients: clients.clone(), jobs: jobs.clone(), realm, tally };
            readers.tasks.spawn(reader.run(Dice::new(seeds.bits()), readers.stop.clone()));
        }
    }
    Ok(readers)
}

struct Reader {
    clients: Vec<Client>,
    jobs: Arc<Jobs>,
    realm: Arc<LabRealm>,
    tally: Arc<Tally>,
}

/// What came of one try.
pub(super) enum Try {
    /// A token.
    Token(Answer),
    /// 410, for this reason.
    Ended(String),
    /// Something that another replica might do better.
    Failed(String),
    /// Something that should never be answered.
    Wrong(String),
}

/// Reads once.
pub(super) async fn attempt(client: &Client, job: &str, query: &str, patience: Duration) -> Try {
    let answer = match tokio::time::timeout(patience, client.get_with(job, query)).await {
        Err(_) => return Try::Failed("timeout".to_owned()),
        Ok(Err(_)) => return Try::Failed("connection".to_owned()),
        Ok(Ok(answer)) => answer,
    };
    match answer.status.as_u16() {
        200 => Try::Token(answer),
        410 => Try::Ended(answer.body["reason"].as_str().unwrap_or_default().to_owned()),
        status @ 500.. => Try::Failed(format!("{status} {}", answer.code())),
        status => Try::Wrong(format!("{status} {}", answer.code())),
    }
}

impl Reader {
    async fn run(self, mut dice: Dice, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let job = &self.jobs.jobs[usize::try_from(dice.below(self.jobs.jobs.len() as u64)).unwrap_or_default()];
            let first = usize::try_from(dice.below(REPLICAS as u64)).unwrap_or_default();
            let sampled = dice.below(SAMPLED) == 0;
            self.read(job, first, sampled).await;
            count(&self.tally.reads);
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn read(&self, job: &Job, first: usize, sampled: bool) {
        let mut asked = (first, now());
        let mut tried = attempt(&self.clients[first], &job.id, "", PATIENCE).await;
        if let Try::Failed(_) = tried {
            count(&self.tally.retried);
            tokio::time::sleep(BACK_OFF).await;
            asked = ((first + 1) % REPLICAS, now());
            tried = attempt(&self.clients[(first + 1) % REPLICAS], &job.id, "", PATIENCE).await;
        }
        match tried {
            Try::Token(answer) => self.check(job, &answer, asked, sampled).await,
            Try::Ended(_) => {}
            Try::Failed(why) | Try::Wrong(why) => self.tally.fail(why),
        }
    }

    async fn check(&self, job: &Job, answer: &Answer, (replica, asked): (usize, f64), sampled: bool) {
        let arrived = now();
        let claims = claims(answer.access_token());
        let expires = claims["exp"].as_f64().unwrap_or_default();
        if expires <= arrived {
            return self.tally.expired(Stale { replica, asked, arrived, expires });
        }
        if claims["user_id"].as_str() != Some(&job.user_id) {
            return count(&self.tally.foreign);
        }
        if !sampled {
            return;
        }
        // A Keycloak that does not answer has said nothing.
        if let Ok(active) = self.realm.is_active(answer.access_token()).await {
            count(&self.tally.sampled);
            if !active && now() < expires {
                count(&self.tally.inactive);
            }
        }
    }
}
