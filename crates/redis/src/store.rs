//! [`RedisStore`]: its connections, and the server at their other end. Each port is implemented in the module that knows its keys.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use async_trait::async_trait;
use redis::{Cmd, FromRedisValue};
use tokenvault_core::ids::StoreEpoch;
use tokenvault_core::ports::{NEWEST_SCHEMA, ServerStore, StoreCause, StoreError};
use tokenvault_core::record::UnpackedTerms;
use tokenvault_core::time::Timestamp;

use crate::config::RedisConfig;
use crate::error::{InvalidRedisConfig, unavailable};
use crate::link::{Acks, Node, OnEraEnd, Query, Repeat, ScriptCall, Servers};
use crate::{keys, scripts};

/// The schema this version writes into an empty database; see `migrations/`.
pub const SCHEMA: u32 = NEWEST_SCHEMA;
/// The oldest schema this version serves, until it is migrated.
pub const OLDEST_SCHEMA: u32 = 1;

/// Spreads the bits of an id.
const EPOCH_FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

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
    pub(crate) servers: Servers,
    acks: Option<Acks>,
    short_acks: AtomicU64,
    on_short_ack: Option<Box<dyn Fn() + Send + Sync>>,
    /// The newest schema it knows.
    pub(crate) speaks: u32,
    /// The schema that the store was found to have; 0 before it was looked at.
    pub(crate) schema: AtomicU32,
    /// The terms of jobs that were read lately.
    pub(crate) terms: UnpackedTerms,
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
        Ok(Self {
            servers: Servers::new(config, on_left)?,
            acks: (config.ack_replicas > 0)
                .then_some(Acks { replicas: config.ack_replicas, timeout: config.ack_timeout }),
            short_acks: AtomicU64::new(0),
            on_short_ack: None,
            speaks: SCHEMA,
            schema: AtomicU32::new(0),
            terms: UnpackedTerms::default(),
            on_unreadable: None,
            older_replicas: AtomicBool::new(true),
        })
    }

    /// Looks from now on, every second or more often, where its servers are, and leaves one that is no longer among them: one
    /// that takes writes all the same is not found out by its answers. Ends with the store. Needs a runtime.
    #[must_use]
    pub fn following_its_servers(self) -> Self {
        self.servers.follow();
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
        self.servers.write::<i64>(Query::Command(command), Repeat::Once, None).await.map(drop)
    }

    /// Runs a script that changes something that must outlive a failover.
    pub(crate) async fn change<T: FromRedisValue + Send>(&self, script: &ScriptCall<'_>) -> Result<T, StoreError> {
        self.change_insisting(script, 1).await
    }

    /// The same, so many times at most until as many replicas as were asked for have acknowledged it. The script must
    /// recognise that it is repeated; where a failover has lost what it did, the repetition does it anew.
    pub(crate) async fn change_insisting<T: FromRedisValue + Send>(
        &self,
        script: &ScriptCall<'_>,
        times: u32,
    ) -> Result<T, StoreError> {
        let mut left = times;
        loop {
            let sent = self.servers.write(Query::Script(script), Repeat::Once, self.acks).await?;
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
        for node in self.servers.all().await? {
            let pong: String = self.servers.read_of(&node, &redis::cmd("PING")).await?;
            if pong != "PONG" {
                return Err(unavailable(StoreCause::Protocol));
            }
        }
        self.known_schema().await?;
        let mut probe = scripts::at(&scripts::PROBE, keys::PROBE);
        probe.arg(PROBE_KEPT_MS);
        self.servers.write::<i64>(Query::Script(&probe), Repeat::Once, None).await.map(drop)
    }

    /// Of the server that keeps what concerns all replicas, so that they agree.
    async fn time(&self) -> Result<Timestamp, StoreError> {
        let node = self.servers.of_slot(keys::fleet_slot()).await?;
        let (seconds, micros): (u64, u64) = self.servers.read_of(&node, &redis::cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds * 1000 + micros / 1000))
    }

    /// A restart changes a process's id, a failover the id of its history. In a cluster this happens to one server at a time, and
    /// then no record's life counts as unbroken: which server keeps which record may have changed as well.
    async fn epoch(&self) -> Result<StoreEpoch, StoreError> {
        let mut epoch = 0_u64;
        for node in self.servers.all().await? {
            // Two servers must not cancel each other out, nor may their order count: addresses change their places.
            epoch = epoch.wrapping_add(self.epoch_of(&node).await?.wrapping_mul(EPOCH_FACTOR) ^ EPOCH_FACTOR);
        }
        Ok(StoreEpoch(epoch))
    }
}

impl RedisStore {
    async fn epoch_of(&self, node: &Node) -> Result<u64, StoreError> {
        let mut both = redis::pipe();
        both.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let (server, replication): (String, String) = self.servers.read_all_of(node, &both).await?;
        let id = |text: &str, name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default();
            value
                .get(..16)
                .and_then(|digits| u64::from_str_radix(digits, 16).ok())
                .ok_or_else(|| unavailable(StoreCause::Protocol))
        };
        Ok(id(&server, "run_id")? ^ id(&replication, "master_replid")?.rotate_left(1))
    }
}
