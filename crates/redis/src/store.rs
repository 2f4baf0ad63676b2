//! [`RedisStore`]: its connections, and the server at their other end. Each port is implemented in the module that knows its keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue, ScriptInvocation};
use tokenvault_core::ids::StoreEpoch;
use tokenvault_core::ports::{NEWEST_SCHEMA, ServerStore, StoreCause, StoreError};
use tokenvault_core::time::Timestamp;

use crate::config::RedisConfig;
use crate::error::{InvalidRedisConfig, unavailable};
use crate::link::{Acks, Eras, OnEraEnd, Query, ReadLink, Repeat, WriteLink, follow_name};
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
    pub(crate) writes: WriteLink,
    pub(crate) reads: Arc<ReadLink>,
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
    /// Fails only where the configuration cannot be used.
    pub fn connect(config: &RedisConfig) -> Result<Self, InvalidRedisConfig> {
        Self::connect_telling(config, None)
    }

    /// The same; tells each time that all connections are left because nobody answers over one of them.
    pub fn connect_telling(config: &RedisConfig, on_left: Option<OnEraEnd>) -> Result<Self, InvalidRedisConfig> {
        let client = config.client()?;
        let eras = Eras::new(client.get_connection_info().addr().to_string(), on_left);
        Ok(Self {
            writes: WriteLink::new(client.clone(), config, Arc::clone(&eras))?,
            reads: Arc::new(ReadLink::new(client, config, eras)),
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

    /// Runs a command that takes something out; nobody is harmed where a failover brings it back.
    pub(crate) async fn remove(&self, command: &Cmd) -> Result<(), StoreError> {
        self.writes.call::<i64>(Query::Command(command), Repeat::Once, None).await.map(drop)
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
            let sent = self.writes.call(Query::Script(script), Repeat::Once, self.acks).await?;
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
impl ServerStore for RedisStore {
    async fn ready(&self) -> Result<(), StoreError> {
        let pong: String = self.reads.call(&redis::cmd("PING")).await?;
        if pong != "PONG" {
            return Err(unavailable(StoreCause::Protocol));
        }
        self.known_schema().await?;
        let mut probe = scripts::PROBE.key(keys::PROBE);
        probe.arg(PROBE_KEPT_MS);
        self.writes.call::<i64>(Query::Script(&probe), Repeat::Once, None).await.map(drop)
    }

    async fn time(&self) -> Result<Timestamp, StoreError> {
        let (seconds, micros): (u64, u64) = self.reads.call(&redis::cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
    }

    /// A restart changes the process's id, a failover the id of its history.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        let mut both = redis::pipe();
        both.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let (server, replication): (String, String) = self.reads.all(&both).await?;
        let id = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
            value
                .get(..16)
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or_else(|| unavailable(StoreCause::Protocol))
        };
        Ok(StoreEpoch(id(&server, "run_id")? ^ id(&replication, "master_replid")?.rotate_left(1)))
    }
}
