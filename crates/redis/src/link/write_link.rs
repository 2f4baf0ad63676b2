//! The connections for whatever changes something: a pool.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, Pool, RecycleError, RecycleResult};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, FromRedisValue, RedisError, RedisResult};
use tokenvault_core::ports::StoreError;

use super::connection::leave_reason;
use super::connector::{Connector, connection_config};
use super::era::{Era, Eras};
use super::query::{Manner, Query, connect, demoted};
use crate::config::RedisConfig;
use crate::error::{InvalidRedisConfig, pool_error, redis_error, spoils_connection, was_closed};

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
    connector: Connector,
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
        let connection = connect(&self.connector, &self.config, &self.eras).await?;
        Ok(Link { connection, era, spoiled: false })
    }

    /// No PING: a closed connection is noticed by the command itself, at no cost for those that are open.
    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<RedisError> {
        if link.spoiled || !self.eras.lasts(link.era) { Err(RecycleError::message("spoiled")) } else { Ok(()) }
    }
}

/// The connections for whatever changes something.
pub(crate) struct WriteLink {
    pool: Pool<Manager>,
    eras: Arc<Eras>,
}

impl WriteLink {
    pub(super) fn new(connector: Connector, config: &RedisConfig, eras: Arc<Eras>) -> Result<Self, InvalidRedisConfig> {
        // The same connection waits for the acknowledgements, and must not be cut while it does.
        let patience = if config.ack_replicas > 0 { config.ack_timeout } else { Duration::ZERO };
        let patience = config.response_timeout.saturating_add(patience);
        let manager =
            Manager { connector, config: connection_config(config.connect_timeout, patience), eras: Arc::clone(&eras) };
        let pool = Pool::builder(manager)
            .max_size(config.pool_size.max(1))
            .wait_timeout(Some(config.connect_timeout))
            .create_timeout(Some(config.connect_timeout))
            .recycle_timeout(Some(config.connect_timeout))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|_| InvalidRedisConfig::Pool)?;
        Ok(Self { pool, eras })
    }

    /// A server that takes no writes has done nothing, whatever it was sent: that is sent once more to whoever takes them.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        query: Query<'_>,
        manner: Manner,
        repeat: Repeat,
        acks: Option<Acks>,
    ) -> Result<RedisResult<Sent<T>>, StoreError> {
        match self.attempt(query, manner, acks).await? {
            Err(error) if demoted(&error) || (repeat == Repeat::Once && was_closed(&error)) => {
                self.attempt(query, manner, acks).await
            }
            answer => Ok(answer),
        }
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        query: Query<'_>,
        manner: Manner,
        acks: Option<Acks>,
    ) -> Result<RedisResult<Sent<T>>, StoreError> {
        let mut link = self.pool.get().await.map_err(|error| pool_error(&error))?;
        match query.send(&mut link.connection, manner).await {
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
                if let Some(cause) = leave_reason(&error) {
                    self.eras.end(link.era, cause);
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
                    tracing::debug!(
                        count,
                        wanted = acks.replicas,
                        "a write was acknowledged by fewer replicas than wanted"
                    );
                }
                count >= acks.replicas
            }
            Err(error) => {
                link.spoiled = true;
                if let Some(cause) = leave_reason(&error) {
                    self.eras.end(link.era, cause);
                }
                let _ = redis_error(&error);
                false
            }
        }
    }
}
