//! [`RedisStore`]: the port's methods, each handed on to the module that knows its keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use redis::{FromRedisValue, ScriptInvocation};
use tokenvault_core::ids::{
    AttemptId, Generation, Incarnation, JobId, JobKey, ModuleName, SessionKey, Shard, StoreEpoch, TenantId, UserId,
};
use tokenvault_core::ports::{
    Claim, Claimed, Created, Join, Joined, Lease, NEWEST_SCHEMA, SessionEntry, SessionLook, StoreError, Stored,
    TokenStore, Write, Written,
};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;

use crate::config::RedisConfig;
use crate::error::report;
use crate::link::{Acks, Call, Eras, OnLeft, Reads, Repeat, Writes, follow_name};
use crate::{keys, scripts};

/// The schema this version writes into an empty database; see `migrations/`.
pub const SCHEMA: u32 = NEWEST_SCHEMA;
/// The oldest schema this version serves, until it is migrated.
pub const OLDEST_SCHEMA: u32 = 1;

/// How long the trace of a look whether the server takes writes is kept.
const PROBE_KEPT_MS: u64 = 60_000;

/// Why a record cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// Its fields are not those of a record.
    Malformed,
    /// It stands under another's name.
    Misplaced,
}

impl Unreadable {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Malformed, Self::Misplaced];

    /// The stable code, for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Misplaced => "misplaced",
        }
    }
}

/// Hears of each record that cannot be read.
pub type OnUnreadable = Arc<dyn Fn(Unreadable) + Send + Sync>;

/// The store on Redis.
pub struct RedisStore {
    pub(crate) writes: Writes,
    pub(crate) reads: Arc<Reads>,
    acks: Option<Acks>,
    short_acks: AtomicU64,
    on_short_ack: Option<Box<dyn Fn() + Send + Sync>>,
    /// The newest schema it knows.
    pub(crate) speaks: u32,
    pub(crate) on_unreadable: Option<OnUnreadable>,
    /// Whether replicas may be alive that leave no marks when they join a session. Taken for so until it is known.
    pub(crate) older_replicas: AtomicBool,
}

impl RedisStore {
    /// A store that connects when it is first used: Redis may be away when this is called, and may come and go later.
    /// Fails only where the configuration cannot be used, with a kind that begins with `config_`.
    pub fn connect(config: &RedisConfig) -> Result<Self, StoreError> {
        Self::connect_telling(config, None)
    }

    /// The same; tells each time that all connections are left because nobody answers over one of them.
    pub fn connect_telling(config: &RedisConfig, on_left: Option<OnLeft>) -> Result<Self, StoreError> {
        let client = config.client()?;
        let eras = Eras::new(client.get_connection_info().addr().to_string(), on_left);
        Ok(Self {
            writes: Writes::new(client.clone(), config, Arc::clone(&eras))?,
            reads: Arc::new(Reads::new(client, config, eras)),
            acks: (config.ack_replicas > 0)
                .then_some(Acks { replicas: config.ack_replicas, timeout: config.ack_timeout }),
            short_acks: AtomicU64::new(0),
            on_short_ack: None,
            speaks: SCHEMA,
            on_unreadable: None,
            older_replicas: AtomicBool::new(true),
        })
    }

    /// Looks from now on, every second, where its name leads, and leaves the server that it no longer leads to: one that
    /// takes writes all the same is not found out by its answers. Ends with the store. Needs a runtime.
    #[must_use]
    pub fn following_its_name(self) -> Self {
        tokio::spawn(follow_name(Arc::downgrade(&self.reads)));
        self
    }

    /// The same store, which tells of every record it was asked for and cannot read.
    #[must_use]
    pub fn telling(self, on_unreadable: OnUnreadable) -> Self {
        Self { on_unreadable: Some(on_unreadable), ..self }
    }

    pub(crate) fn unreadable(&self, why: Unreadable) {
        if let Some(told) = &self.on_unreadable {
            told(why);
        }
    }

    /// How many writes were acknowledged by fewer replicas than were asked for, since this store was made.
    pub fn short_acks(&self) -> u64 {
        self.short_acks.load(Ordering::Relaxed)
    }

    /// Calls this each time a write is acknowledged by fewer replicas than were asked for.
    #[must_use]
    pub fn on_short_ack(mut self, tell: impl Fn() + Send + Sync + 'static) -> Self {
        self.on_short_ack = Some(Box::new(tell));
        self
    }

    /// Runs a script that changes something that must outlive a failover.
    pub(crate) async fn change<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, StoreError> {
        self.change_insisting(script, 1).await
    }

    /// The same, so many times at most until as many replicas as were asked for have acknowledged it. The script must
    /// recognise that it is repeated; where a failover has lost what it did, the repetition does it anew.
    pub(crate) async fn change_insisting<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        times: u32,
    ) -> Result<T, StoreError> {
        let mut left = times;
        loop {
            let sent = self.writes.call(Call::Script(script), Repeat::Once, self.acks).await?;
            left = left.saturating_sub(1);
            if !sent.acknowledged {
                self.short_acks.fetch_add(1, Ordering::Relaxed);
                self.on_short_ack.iter().for_each(|tell| tell());
            }
            if sent.acknowledged || left == 0 {
                return Ok(sent.answer);
            }
        }
    }
}

#[async_trait]
impl TokenStore for RedisStore {
    async fn ready(&self) -> Result<(), StoreError> {
        let pong: String = self.reads.call(&redis::cmd("PING")).await?;
        if pong != "PONG" {
            return Err(report("protocol"));
        }
        self.known_schema().await?;
        let mut probe = scripts::PROBE.key(keys::PROBE);
        probe.arg(PROBE_KEPT_MS);
        self.writes.call::<i64>(Call::Script(&probe), Repeat::Once, None).await.map(drop)
    }

    async fn load(&self, key: &JobKey) -> Result<Option<Stored>, StoreError> {
        self.load_record(key).await
    }

    async fn create(
        &self,
        record: &Record,
        replaces: Option<Generation>,
        attempt: AttemptId,
    ) -> Result<Created, StoreError> {
        self.create_record(record, replaces, attempt).await
    }

    async fn write(&self, write: &Write<'_>) -> Result<Written, StoreError> {
        self.write_record(write).await
    }

    async fn claim(&self, shard: Shard, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        self.claim_records(shard, claim).await
    }

    async fn holds(&self, lease: &Lease) -> Result<bool, StoreError> {
        self.holds_lease(lease).await
    }

    async fn announce(
        &self,
        key: &JobKey,
        heard_at: Timestamp,
        due: Timestamp,
        renew: Timestamp,
    ) -> Result<(), StoreError> {
        self.hasten_record(key, (due, renew), Some(heard_at)).await
    }

    async fn hasten(&self, key: &JobKey, due: Timestamp, renew: Timestamp) -> Result<(), StoreError> {
        self.hasten_record(key, (due, renew), None).await
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        let (seconds, micros): (u64, u64) = self.reads.call(&redis::cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
    }

    /// A restart changes the process's id, a failover the id of its history.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        let server: String = self.reads.call(redis::cmd("INFO").arg("server")).await?;
        let replication: String = self.reads.call(redis::cmd("INFO").arg("replication")).await?;
        let id = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
            value.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| report("protocol"))
        };
        Ok(StoreEpoch(id(&server, "run_id")? ^ id(&replication, "master_replid")?.rotate_left(1)))
    }

    async fn count_due(&self, shard: Shard, now: Timestamp) -> Result<u64, StoreError> {
        self.count_due_records(shard, now).await
    }

    async fn join_session(&self, join: &Join<'_>) -> Result<Joined, StoreError> {
        self.join(join).await
    }

    async fn enter_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        keep_until: Timestamp,
    ) -> Result<Incarnation, StoreError> {
        self.enter(session, job, keep_until).await
    }

    async fn settle_session(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        self.settle(session, job, attempt).await
    }

    async fn withdraw_session(&self, session: &SessionKey, job: &JobId, attempt: AttemptId) -> Result<(), StoreError> {
        self.withdraw(session, job, attempt).await
    }

    async fn leave_session(&self, session: &SessionKey, job: &JobId) -> Result<(), StoreError> {
        self.leave(session, job).await
    }

    async fn session(&self, session: &SessionKey) -> Result<Option<SessionEntry>, StoreError> {
        self.session_entry(session).await
    }

    async fn look_at_session(
        &self,
        session: &SessionKey,
        job: &JobId,
        exchanges: bool,
    ) -> Result<Option<SessionLook>, StoreError> {
        self.look_at(session, job, exchanges).await
    }

    async fn supersede_session(&self, session: &SessionKey, seen: Incarnation) -> Result<Incarnation, StoreError> {
        self.supersede(session, seen).await
    }

    async fn add_to_user(&self, user: &UserId, key: &JobKey, keep_until: Timestamp) -> Result<(), StoreError> {
        self.enter_user(user, key, keep_until, usize::MAX).await.map(drop)
    }

    async fn reserve_for_user(
        &self,
        user: &UserId,
        key: &JobKey,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        self.enter_user(user, key, keep_until, max).await
    }

    async fn remove_from_user(&self, user: &UserId, key: &JobKey) -> Result<(), StoreError> {
        self.leave_user(user, key).await
    }

    async fn jobs_of_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<&JobId>,
        limit: usize,
    ) -> Result<Vec<JobId>, StoreError> {
        let jobs = self.user_jobs(tenant, user).await?;
        Ok(jobs.into_iter().filter(|job| after.is_none_or(|after| job > after)).take(limit).collect())
    }

    async fn take_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        keep_until: Timestamp,
        max: usize,
    ) -> Result<bool, StoreError> {
        self.take_of_share(tenant, module, (keep_until, max)).await
    }

    async fn move_share(
        &self,
        tenant: &TenantId,
        module: &ModuleName,
        from: Timestamp,
        to: Option<Timestamp>,
    ) -> Result<(), StoreError> {
        self.move_in_share(tenant, module, (from, to)).await
    }

    async fn add_child(&self, parent: &JobKey, child: &JobId, max: usize) -> Result<bool, StoreError> {
        self.enter_child(parent, child, max).await
    }

    async fn remove_child(&self, parent: &JobKey, child: &JobId) -> Result<(), StoreError> {
        self.leave_parent(parent, child).await
    }
}
