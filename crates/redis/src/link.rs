//! The connections: a pool for writes and claims, one shared connection for reads.
//!
//! A connection is thrown away as soon as it was closed or kept a command waiting too long, so that no later command
//! finds it. Where a connection turns out to have been closed (a restarted server closes all that were idle), a command
//! that is safe to repeat is sent once more on a new one. Nothing is sent again after a time-out: the caller decides. But a
//! time-out of one is the end of all that were made before it ([`Eras`]).

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, RecycleError, RecycleResult};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, ScriptInvocation};
use tokenvault_core::ports::StoreError;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::config::RedisConfig;
use crate::era::{Era, Eras};
use crate::error::{no_connection, report, spoils_connection, unavailable, was_closed};

/// Something to send.
#[derive(Clone, Copy)]
pub(crate) enum Call<'a> {
    /// A script, by its hash.
    Script(&'a ScriptInvocation<'a>),
    /// A command.
    Command(&'a Cmd),
    /// Several commands in one go.
    Commands(&'a Pipeline),
}

impl Call<'_> {
    async fn send<T: FromRedisValue>(self, connection: &mut impl ConnectionLike) -> RedisResult<T> {
        match self {
            Self::Script(script) => script.invoke_async(connection).await,
            Self::Command(command) => command.query_async(connection).await,
            Self::Commands(commands) => commands.query_async(connection).await,
        }
    }
}

/// Whether a call whose connection was closed is sent once more.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Once,
    Never,
}

/// How many replicas to wait for, and how long.
#[derive(Clone, Copy)]
pub(crate) struct Acks {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

/// What came of a write.
pub(crate) struct Sent<T> {
    pub(crate) answer: T,
    /// Whether as many replicas acknowledged it as were asked for.
    pub(crate) acknowledged: bool,
}

struct Manager {
    client: Client,
    config: AsyncConnectionConfig,
    eras: Arc<Eras>,
}

struct Link {
    connection: MultiplexedConnection,
    era: Era,
    spoiled: bool,
}

impl managed::Manager for Manager {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        let era = self.eras.now();
        let connection = self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
        Ok(Link { connection, era, spoiled: false })
    }

    /// No PING: a closed connection is noticed by the command itself, at no cost for those that are open.
    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<RedisError> {
        if link.spoiled || !self.eras.lasts(link.era) { Err(RecycleError::message("spoiled")) } else { Ok(()) }
    }
}

/// The connections for whatever changes something.
pub(crate) struct Writes {
    pool: Pool<Manager>,
    eras: Arc<Eras>,
}

impl Writes {
    pub(crate) fn new(client: Client, config: &RedisConfig, eras: Arc<Eras>) -> Result<Self, StoreError> {
        // The same connection waits for the acknowledgements, and must not be cut while it does.
        let patience = if config.ack_replicas > 0 { config.ack_timeout } else { Duration::ZERO };
        let patience = config.response_timeout.saturating_add(patience);
        let manager = Manager { client, config: connection_config(config, patience), eras: Arc::clone(&eras) };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size.max(1))
            .wait_timeout(Some(config.connect_timeout))
            .create_timeout(Some(config.connect_timeout))
            .recycle_timeout(Some(config.connect_timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|_| StoreError::Unavailable("config_pool"))?;
        Ok(Self { pool, eras })
    }

    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        call: Call<'_>,
        repeat: Repeat,
        acks: Option<Acks>,
    ) -> Result<Sent<T>, StoreError> {
        match self.attempt(call, acks).await? {
            Ok(sent) => Ok(sent),
            Err(error) if repeat == Repeat::Once && was_closed(&error) => {
                self.attempt(call, acks).await?.map_err(|error| unavailable(&error))
            }
            Err(error) => Err(unavailable(&error)),
        }
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        call: Call<'_>,
        acks: Option<Acks>,
    ) -> Result<RedisResult<Sent<T>>, StoreError> {
        let mut link = self.pool.get().await.map_err(|error| no_connection(&error))?;
        match call.send(&mut link.connection).await {
            Ok(answer) => {
                self.eras.answered();
                let acknowledged = match acks {
                    Some(acks) => self.acknowledged(&mut link, acks).await,
                    None => true,
                };
                Ok(Ok(Sent { answer, acknowledged }))
            }
            Err(error) => {
                if spoils_connection(&error) {
                    link.spoiled = true;
                }
                if error.is_timeout() {
                    self.eras.end(link.era);
                }
                if was_closed(&error) {
                    // The others were closed with it.
                    self.pool.retain(|_, _| false);
                }
                Ok(Err(error))
            }
        }
    }

    /// `WAIT` waits for all that was written before its connection's last command, so it must follow on the same connection,
    /// where the script (even one that only recognised a repetition) has just run. The write is done whatever it says.
    async fn acknowledged(&self, link: &mut Object<Manager>, acks: Acks) -> bool {
        let millis = u64::try_from(acks.timeout.as_millis()).unwrap_or(u64::MAX);
        let mut wait = redis::cmd("WAIT");
        wait.arg(acks.replicas).arg(millis);
        match wait.query_async::<u32>(&mut link.connection).await {
            Ok(count) => {
                if count < acks.replicas {
                    tracing::warn!(
                        count,
                        wanted = acks.replicas,
                        "a write was acknowledged by fewer replicas than wanted"
                    );
                }
                count >= acks.replicas
            }
            Err(error) => {
                link.spoiled = true;
                if error.is_timeout() {
                    self.eras.end(link.era);
                }
                let _ = unavailable(&error);
                false
            }
        }
    }
}

/// The connection that all reads share.
pub(crate) struct Reads {
    client: Client,
    config: AsyncConnectionConfig,
    connect_timeout: Duration,
    current: Mutex<Current>,
    eras: Arc<Eras>,
}

#[derive(Default)]
struct Current {
    connection: Option<(MultiplexedConnection, Era)>,
    /// Counts the connections, so that a late failure does not throw away the next one.
    number: u64,
}

impl Reads {
    pub(crate) fn new(client: Client, config: &RedisConfig, eras: Arc<Eras>) -> Self {
        Self {
            client,
            config: connection_config(config, config.response_timeout),
            connect_timeout: config.connect_timeout,
            current: Mutex::default(),
            eras,
        }
    }

    pub(crate) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(Call::Command(command)).await
    }

    /// Several commands in one go; answers in their order.
    pub(crate) async fn all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreError> {
        self.send(Call::Commands(commands)).await
    }

    async fn send<T: FromRedisValue>(&self, call: Call<'_>) -> Result<T, StoreError> {
        match self.attempt(call).await? {
            Err(error) if was_closed(&error) => self.attempt(call).await?,
            answer => answer,
        }
        .map_err(|error| unavailable(&error))
    }

    async fn attempt<T: FromRedisValue>(&self, call: Call<'_>) -> Result<RedisResult<T>, StoreError> {
        let (mut connection, era, number) = self.connection().await?;
        let answer = call.send(&mut connection).await;
        match &answer {
            Ok(_) => self.eras.answered(),
            Err(error) if error.is_timeout() => self.eras.end(era),
            Err(_) => {}
        }
        if answer.as_ref().is_err_and(spoils_connection) {
            let mut current = self.current.lock().await;
            if current.number == number {
                current.connection = None;
            }
        }
        Ok(answer)
    }

    /// The open connection, or a new one. Whoever comes while another connects waits for that, but no longer than
    /// connecting may take, so that callers do not queue up behind an absent server.
    async fn connection(&self) -> Result<(MultiplexedConnection, Era, u64), StoreError> {
        let Ok(mut current) = timeout(self.connect_timeout, self.current.lock()).await else {
            return Err(report("connect_timeout"));
        };
        if let Some((connection, era)) = &current.connection
            && self.eras.lasts(*era)
        {
            return Ok((connection.clone(), *era, current.number));
        }
        let era = self.eras.now();
        let connecting = self.client.get_multiplexed_async_connection_with_config(&self.config);
        let connection = match timeout(self.connect_timeout, connecting).await {
            Ok(connected) => connected.map_err(|error| unavailable(&error))?,
            Err(_) => return Err(report("connect_timeout")),
        };
        current.number += 1;
        current.connection = Some((connection.clone(), era));
        Ok((connection, era, current.number))
    }
}

fn connection_config(config: &RedisConfig, response_timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(response_timeout))
}
