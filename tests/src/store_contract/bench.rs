//! A store under test, and the little a rule needs beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokenvault_core::ids::{AttemptId, JobKey, ReplicaId};
use tokenvault_core::memory::MemoryStore;
use tokenvault_core::ports::testing::ManualClock;
use tokenvault_core::ports::{Claim, Claimed, Clock as _, Created, Fleet, Stored, TokenStore, Write, Written};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;
use tokenvault_redis::{RedisConfig, RedisStore};

use super::samples::NOW;
use crate::harness::redis::{Redis, unhurried};
use crate::harness::{Failure, Result};

/// How long a claimed record is leased in these tests.
pub const LEASE: Duration = Duration::from_secs(30);

/// A store under test.
pub struct Bench {
    /// The store.
    pub store: Arc<dyn TokenStore>,
    /// The same one, as replicas and operators use it.
    pub fleet: Arc<dyn Fleet>,
    /// The Redis it is on, if it is on one.
    pub redis: Option<Redis>,
    clock: Option<Arc<ManualClock>>,
    attempts: AtomicU64,
}

impl Bench {
    /// An empty store in memory, whose keys expire by a clock that stands still until it is moved.
    pub fn memory() -> Self {
        let clock = Arc::new(ManualClock::at(system_time()));
        Self::new(Arc::new(MemoryStore::new(clock.clone())), Some(clock), None)
    }

    /// An empty store on a Redis of its own.
    pub async fn redis() -> Result<Self> {
        Self::on(Redis::start().await?)
    }

    /// A store on a Redis that was set up for the purpose.
    pub fn on(redis: Redis) -> Result<Self> {
        let store = RedisStore::connect(&unhurried(redis.url()))?;
        Ok(Self::new(Arc::new(store), None, Some(redis)))
    }

    /// A store on servers that somebody else has started.
    pub fn reached_by(config: &RedisConfig) -> Result<Self> {
        Ok(Self::new(Arc::new(RedisStore::connect(config)?.following_its_servers()), None, None))
    }

    fn new<S>(store: Arc<S>, clock: Option<Arc<ManualClock>>, redis: Option<Redis>) -> Self
    where
        S: TokenStore + Fleet + 'static,
    {
        Self { fleet: Arc::clone(&store) as Arc<dyn Fleet>, store, redis, clock, attempts: AtomicU64::new(1) }
    }

    /// The Redis it is on.
    pub fn server(&mut self) -> Result<&mut Redis> {
        self.redis.as_mut().ok_or_else(|| Failure::new("this store is not on Redis"))
    }

    /// An attempt nobody has made before.
    pub fn attempt(&self) -> AttemptId {
        AttemptId::from_bits(self.attempts.fetch_add(1, Ordering::SeqCst))
    }

    /// The time by which keys expire.
    pub fn expiry_clock(&self) -> Timestamp {
        self.clock.as_ref().map_or_else(system_time, |clock| clock.now())
    }

    /// Lets a little of that time pass.
    pub async fn wait_a_little(&self) {
        let little = Duration::from_millis(20);
        match &self.clock {
            Some(clock) => clock.advance(little),
            None => tokio::time::sleep(little).await,
        }
    }

    /// Lets time pass until something is so; fails if it takes long.
    pub async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> Result<bool>) -> Result<()> {
        for _ in 0..500 {
            if so().await? {
                return Ok(());
            }
            self.wait_a_little().await;
        }
        Err(Failure::new(format!("it did not come about: {what}")))
    }

    /// Creates a record that was not there.
    pub async fn create(&self, record: &Record) -> Result<()> {
        assert_eq!(self.store.create(record, None, self.attempt()).await?, Created::Done);
        Ok(())
    }

    /// A record that must be there.
    pub async fn load(&self, key: &JobKey) -> Result<Stored> {
        self.store.load(key).await?.ok_or_else(|| Failure::new(format!("{key} is not there")))
    }

    /// A change that must be done now.
    pub async fn done(&self, write: &Write<'_>) -> Result<()> {
        assert_eq!(self.store.write(write).await?, Written::Done);
        Ok(())
    }

    /// Claims whatever is due in a record's shard.
    pub async fn claim(&self, key: &JobKey, now: Timestamp) -> Result<Vec<Claimed>> {
        Ok(self.store.claim(key.shard(), &claim(&replica("r1"), now, 100)).await?)
    }

    /// Claims one record, which must be the only one due in its shard.
    pub async fn claim_one(&self, key: &JobKey, now: Timestamp) -> Result<Claimed> {
        let mut claimed = self.claim(key, now).await?;
        assert_eq!(claimed.len(), 1, "{claimed:?}");
        Ok(claimed.remove(0))
    }

    /// Whether anything is due in a record's shard.
    pub async fn is_due(&self, key: &JobKey, now: Timestamp) -> Result<bool> {
        Ok(self.store.count_due(key.shard(), now).await? > 0)
    }

    /// The instant from which something is due in a record's shard, if ever before the year 2100.
    pub async fn due_from(&self, key: &JobKey) -> Result<Option<Timestamp>> {
        let (mut before, mut from) = (NOW.as_millis() - 1_000_000_000, NOW.as_millis() + 100_000_000_000);
        if !self.is_due(key, Timestamp::from_millis(from)).await? {
            return Ok(None);
        }
        while from - before > 1 {
            let middle = before.midpoint(from);
            if self.is_due(key, Timestamp::from_millis(middle)).await? { from = middle } else { before = middle }
        }
        Ok(Some(Timestamp::from_millis(from)))
    }
}

/// A replica's name.
pub fn replica(name: &str) -> ReplicaId {
    ReplicaId::parse(name).expect("these names are fit for replicas")
}

/// A request for due records.
pub fn claim(replica: &ReplicaId, now: Timestamp, limit: usize) -> Claim<'_> {
    Claim { replica, now, lease: LEASE, limit }
}

fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or_default())
}
