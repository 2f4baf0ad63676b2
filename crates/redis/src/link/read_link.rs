//! The connection that all reads share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, RedisError, RedisResult};
use tokenvault_core::ports::{StoreCause, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::connection::leave_reason;
use super::connector::{Connector, connection_config};
use super::era::{Era, Eras, LeaveReason, instant};
use super::query::{Manner, Query, connect, demoted, send_trusting};
use super::server_id::{ServerId, server_id};
use crate::config::RedisConfig;
use crate::error::{redis_error, spoils_connection, unavailable, was_closed};

/// For so long a server that said that it is a primary is believed to be one still. What it answers meanwhile may be as much too
/// old; an answer for which that matters is asked for by [`ReadLink::call`].
const ROLE_HOLDS_MICROS: u64 = 10_000;

/// The connection that all reads share.
pub(crate) struct ReadLink {
    connector: Connector,
    config: AsyncConnectionConfig,
    connect_timeout: Duration,
    current: ArcSwapOption<OpenConnection>,
    /// Held by the one that connects.
    connecting: Mutex<()>,
    eras: Arc<Eras>,
    /// The beginning of the times that connections remember.
    began: Instant,
}

struct OpenConnection {
    connection: MultiplexedConnection,
    era: Era,
    /// When its server was last asked whether it is a primary and said yes, in microseconds since the link began.
    primary_at: AtomicU64,
}

impl ReadLink {
    pub(super) fn new(connector: Connector, config: &RedisConfig, eras: Arc<Eras>) -> Self {
        Self {
            connector,
            config: connection_config(config.connect_timeout, config.response_timeout),
            connect_timeout: config.connect_timeout,
            current: ArcSwapOption::empty(),
            connecting: Mutex::default(),
            eras,
            began: instant(),
        }
    }

    /// Asks a server that says in the same breath that it is a primary.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        query: Query<'_>,
        manner: Manner,
    ) -> Result<RedisResult<T>, StoreError> {
        match self.attempt(query, manner).await? {
            Err(error) if was_closed(&error) || demoted(&error) => self.attempt(query, manner).await,
            answer => Ok(answer),
        }
    }

    /// The same, of a server that was a primary a moment ago.
    pub(super) async fn call_trusting<T: FromRedisValue>(&self, command: &Cmd) -> Result<RedisResult<T>, StoreError> {
        let open = self.open().await?;
        let asked_at = self.since_began();
        if asked_at > open.primary_at.load(Ordering::Relaxed) + ROLE_HOLDS_MICROS {
            return self.call(Query::Command(command), Manner::Plain).await;
        }
        let answer = send_trusting(command, &mut open.connection.clone()).await;
        match self.judged(&open, answer) {
            Err(error) if was_closed(&error) || demoted(&error) => {
                self.call(Query::Command(command), Manner::Plain).await
            }
            answer => Ok(answer),
        }
    }

    /// Looks where a new connection leads, and answers which server that is, unless it is the one that answers now. Where it
    /// is the one of the look before as well, the connections move there: twice, for a name can lead to several by turns.
    pub(super) async fn look_where_it_leads(&self, before: Option<ServerId>) -> Option<ServerId> {
        let here = self.current.load_full()?;
        let (mut old, mut new) = (here.connection.clone(), self.connected().await.ok()?);
        let (old, new) = (server_id(&mut old).await?, server_id(&mut new).await?);
        if old == new {
            return None;
        }
        if before.as_ref() == Some(&new) {
            self.eras.end(here.era, LeaveReason::Moved);
            return None;
        }
        Some(new)
    }

    async fn attempt<T: FromRedisValue>(&self, query: Query<'_>, manner: Manner) -> Result<RedisResult<T>, StoreError> {
        let open = self.open().await?;
        let asked_at = self.since_began();
        let answer = query.send(&mut open.connection.clone(), manner).await;
        if answer.is_ok() {
            open.primary_at.fetch_max(asked_at, Ordering::Relaxed);
        }
        Ok(self.judged(&open, answer))
    }

    /// Draws from an answer what it says of the connection.
    fn judged<T>(&self, open: &Arc<OpenConnection>, answer: Result<T, RedisError>) -> RedisResult<T> {
        match &answer {
            Ok(_) => self.eras.answered(),
            Err(error) => {
                if let Some(cause) = leave_reason(error) {
                    self.eras.end(open.era, cause);
                }
                if spoils_connection(error) {
                    let current = self.current.load();
                    if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, open)) {
                        self.current.compare_and_swap(&*current, None);
                    }
                }
            }
        }
        answer
    }

    /// The open connection, or a new one. Whoever comes while another connects waits for that, but no longer than
    /// connecting may take, so that callers do not queue up behind an absent server.
    async fn open(&self) -> Result<Arc<OpenConnection>, StoreError> {
        if let Some(open) = self.usable() {
            return Ok(open);
        }
        let Ok(_connecting) = timeout(self.connect_timeout, self.connecting.lock()).await else {
            return Err(unavailable(StoreCause::ConnectTimeout));
        };
        if let Some(open) = self.usable() {
            return Ok(open);
        }
        let era = self.eras.now();
        let asked_at = self.since_began();
        let connection = self.connected().await?;
        let open = Arc::new(OpenConnection { connection, era, primary_at: AtomicU64::new(asked_at) });
        self.current.store(Some(Arc::clone(&open)));
        Ok(open)
    }

    fn usable(&self) -> Option<Arc<OpenConnection>> {
        self.current.load_full().filter(|open| self.eras.lasts(open.era))
    }

    fn since_began(&self) -> u64 {
        u64::try_from(instant().duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    async fn connected(&self) -> Result<MultiplexedConnection, StoreError> {
        match timeout(self.connect_timeout, connect(&self.connector, &self.config, &self.eras)).await {
            Ok(connected) => connected.map_err(|error| redis_error(&error)),
            Err(_) => Err(unavailable(StoreCause::ConnectTimeout)),
        }
    }
}
