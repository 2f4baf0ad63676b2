//! The connection that all reads share.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisResult};
use tokenvault_core::ports::{StoreCause, StoreError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{connection_config, leave_reason};
use super::era::{Era, Eras, LeaveReason};
use super::query::{Query, connect, demoted};
use super::server_id::{ServerId, server_id};
use crate::config::RedisConfig;
use crate::error::{redis_error, spoils_connection, unavailable, was_closed};

/// The connection that all reads share.
pub(crate) struct ReadLink {
    client: Client,
    config: AsyncConnectionConfig,
    connect_timeout: Duration,
    current: Mutex<Current>,
    eras: Arc<Eras>,
}

#[derive(Default)]
struct Current {
    open: Option<OpenConnection>,
    /// Counts the connections, so that a late failure does not throw away the next one.
    number: u64,
}

#[derive(Clone)]
struct OpenConnection {
    connection: MultiplexedConnection,
    era: Era,
    number: u64,
}

impl ReadLink {
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
        self.send(Query::Command(command)).await
    }

    /// Several commands in one go; answers in their order.
    pub(crate) async fn all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreError> {
        self.send(Query::Commands(commands)).await
    }

    /// Looks where a new connection leads, and answers which server that is, unless it is the one that answers now. Where it
    /// is the one of the look before as well, the connections move there: twice, for a name can lead to several by turns.
    pub(super) async fn look_where_it_leads(&self, before: Option<ServerId>) -> Option<ServerId> {
        let here = self.current.lock().await.open.clone()?;
        let (mut old, mut new) = (here.connection, self.connected().await.ok()?);
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

    async fn send<T: FromRedisValue>(&self, query: Query<'_>) -> Result<T, StoreError> {
        match self.attempt(query).await? {
            Err(error) if was_closed(&error) || demoted(&error) => self.attempt(query).await?,
            answer => answer,
        }
        .map_err(|error| redis_error(&error))
    }

    async fn attempt<T: FromRedisValue>(&self, query: Query<'_>) -> Result<RedisResult<T>, StoreError> {
        let OpenConnection { mut connection, era, number } = self.open().await?;
        let answer = query.send(&mut connection).await;
        match &answer {
            Ok(_) => self.eras.answered(),
            Err(error) => {
                if let Some(cause) = leave_reason(error) {
                    self.eras.end(era, cause);
                }
            }
        }
        if answer.as_ref().is_err_and(spoils_connection) {
            let mut current = self.current.lock().await;
            if current.number == number {
                current.open = None;
            }
        }
        Ok(answer)
    }

    /// The open connection, or a new one. Whoever comes while another connects waits for that, but no longer than
    /// connecting may take, so that callers do not queue up behind an absent server.
    async fn open(&self) -> Result<OpenConnection, StoreError> {
        let Ok(mut current) = timeout(self.connect_timeout, self.current.lock()).await else {
            return Err(unavailable(StoreCause::ConnectTimeout));
        };
        if let Some(open) = &current.open
            && self.eras.lasts(open.era)
        {
            return Ok(open.clone());
        }
        let era = self.eras.now();
        let connection = self.connected().await?;
        current.number += 1;
        let open = OpenConnection { connection, era, number: current.number };
        current.open = Some(open.clone());
        Ok(open)
    }

    async fn connected(&self) -> Result<MultiplexedConnection, StoreError> {
        match timeout(self.connect_timeout, connect(&self.client, &self.config, &self.eras)).await {
            Ok(connected) => connected.map_err(|error| redis_error(&error)),
            Err(_) => Err(unavailable(StoreCause::ConnectTimeout)),
        }
    }
}
