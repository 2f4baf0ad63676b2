//! The connection that all reads share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisResult};
use tokenvault_core::ports::StoreError;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::call::{Call, connect, demoted};
use super::era::{Cause, Era, Eras};
use super::name::{ServerId, server_id};
use super::{connection_config, what_it_means};
use crate::config::RedisConfig;
use crate::error::{report, spoils_connection, unavailable, was_closed};

/// For so long a server that took writes is believed to take them still, by those who can live with the doubt.
const BELIEVED: Duration = Duration::from_secs(1);

/// Who may answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    /// A server that says now that it takes writes.
    Primary,
    /// A server that said so a moment ago.
    PrimaryOfLate,
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
    open: Option<Open>,
    /// Counts the connections, so that a late failure does not throw away the next one.
    number: u64,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    era: Era,
    number: u64,
    looked: Arc<Looked>,
}

/// When the server at the other end last said that it takes writes.
struct Looked {
    since: Instant,
    millis: AtomicU64,
}

impl Looked {
    fn now() -> Self {
        Self { since: instant(), millis: AtomicU64::new(0) }
    }

    fn millis(&self) -> u64 {
        u64::try_from(instant().duration_since(self.since).as_millis()).unwrap_or(u64::MAX)
    }

    fn again(&self) {
        self.millis.store(self.millis(), Ordering::Relaxed);
    }

    fn lately(&self) -> bool {
        let age = self.millis().saturating_sub(self.millis.load(Ordering::Relaxed));
        Duration::from_millis(age) < BELIEVED
    }
}

#[expect(clippy::disallowed_methods, reason = "it measures a span and tells no time")]
fn instant() -> Instant {
    Instant::now()
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

    /// What a server says that takes writes.
    pub(crate) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(Call::Command(command), From::Primary).await
    }

    /// The same, or what a server says that took writes a moment ago: at less cost, and to be believed only where an old
    /// answer does no harm.
    pub(crate) async fn call_of_late<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.send(Call::Command(command), From::PrimaryOfLate).await
    }

    /// Several commands in one go; answers in their order.
    pub(crate) async fn all<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, StoreError> {
        self.send(Call::Commands(commands), From::Primary).await
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
            self.eras.end(here.era, Cause::Moved);
            return None;
        }
        Some(new)
    }

    async fn send<T: FromRedisValue>(&self, call: Call<'_>, from: From) -> Result<T, StoreError> {
        match self.attempt(call, from).await? {
            Err(error) if was_closed(&error) || demoted(&error) => self.attempt(call, from).await?,
            answer => answer,
        }
        .map_err(|error| unavailable(&error))
    }

    async fn attempt<T: FromRedisValue>(&self, call: Call<'_>, from: From) -> Result<RedisResult<T>, StoreError> {
        let Open { mut connection, era, number, looked } = self.open().await?;
        let answer = if from == From::PrimaryOfLate && looked.lately() {
            call.send(&mut connection).await
        } else {
            call.send_to_primary(&mut connection).await.inspect(|_| looked.again())
        };
        match &answer {
            Ok(_) => self.eras.answered(),
            Err(error) => {
                if let Some(cause) = what_it_means(error) {
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
    async fn open(&self) -> Result<Open, StoreError> {
        let Ok(mut current) = timeout(self.connect_timeout, self.current.lock()).await else {
            return Err(report("connect_timeout"));
        };
        if let Some(open) = &current.open
            && self.eras.lasts(open.era)
        {
            return Ok(open.clone());
        }
        let era = self.eras.now();
        let connection = self.connected().await?;
        current.number += 1;
        let open = Open { connection, era, number: current.number, looked: Arc::new(Looked::now()) };
        current.open = Some(open.clone());
        Ok(open)
    }

    async fn connected(&self) -> Result<MultiplexedConnection, StoreError> {
        match timeout(self.connect_timeout, connect(&self.client, &self.config)).await {
            Ok(connected) => connected.map_err(|error| unavailable(&error)),
            Err(_) => Err(report("connect_timeout")),
        }
    }
}
