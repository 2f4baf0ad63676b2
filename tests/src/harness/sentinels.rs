//! A primary with replicas, and the sentinels that watch them: one goes, a replica takes its place.
//!
//! All of them listen on loopback, at ports of their own, and their patience is short so that a test sees a failover end.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::process::{SOON, poll, wait_until};
use super::redis::{Redis, RedisOptions};
use super::{Failure, Result};

/// How the sentinels call the primary.
pub const MASTER: &str = "vault";
/// How long a primary may be silent before a sentinel thinks it is gone.
pub const DOWN_AFTER: Duration = Duration::from_secs(1);

const REPLICAS: usize = 2;
const SENTINELS: usize = 3;
const QUORUM: usize = 2;

/// One primary, two replicas and three sentinels; gone with their data when dropped.
pub struct Sentinels {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

impl Sentinels {
    /// Empty servers in memory.
    pub async fn start() -> Result<Self> {
        Self::with(&Redis::options()).await
    }

    /// Servers that are set up like this. Ready once every sentinel knows every other part.
    pub async fn with(options: &RedisOptions) -> Result<Self> {
        let options = options.clone().member().line("repl-diskless-sync-delay 0");
        let primary = options.clone().start().await?;
        let mut servers = vec![primary];
        for _ in 0..REPLICAS {
            let replica = options.clone().replica_of(&servers[0]).start().await?;
            servers.push(replica);
        }
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(watching(&servers[0], &options).start().await?);
        }
        let parts = Self { servers, sentinels };
        wait_until("two replicas", SOON, || async { parts.servers[0].replicas().await == REPLICAS }).await?;
        parts.settled().await?;
        Ok(parts)
    }

    /// `HOST:PORT` of every sentinel, as `redis.sentinel.nodes` has them.
    pub fn nodes(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| sentinel.address().to_string()).collect()
    }

    /// The servers that hold data.
    pub fn servers(&self) -> &[Redis] {
        &self.servers
    }

    /// The same, to be killed and paused.
    pub fn servers_mut(&mut self) -> &mut [Redis] {
        &mut self.servers
    }

    /// The sentinels, to be killed and paused.
    pub fn sentinels_mut(&mut self) -> &mut [Redis] {
        &mut self.sentinels
    }

    /// Which server a majority of the sentinels calls the primary, if it agrees.
    pub async fn primary(&self) -> Option<usize> {
        let mut votes = vec![0; self.servers.len()];
        for sentinel in &self.sentinels {
            if let Ok(address) = named(sentinel).await
                && let Some(voted) = self.servers.iter().position(|server| server.address() == address)
            {
                votes[voted] += 1;
            }
        }
        votes.iter().position(|count| *count >= QUORUM)
    }

    /// Asks a sentinel for a failover, as an operator does; returns who is the primary after it.
    pub async fn failover(&mut self) -> Result<usize> {
        let old = self.agreed_primary().await?;
        poll("a sentinel to begin a failover", SOON, || async {
            self.sentinels[0].ask::<String>(&["SENTINEL", "FAILOVER", MASTER]).await.ok()
        })
        .await?;
        self.successor_of(old).await
    }

    /// SIGKILL to the primary; returns who is the primary after it. [`Self::heal`] starts the killed one again.
    pub async fn kill_primary(&mut self) -> Result<usize> {
        let old = self.agreed_primary().await?;
        self.servers[old].kill().await?;
        self.successor_of(old).await
    }

    /// Starts a server again and waits until it follows the primary of now.
    pub async fn heal(&mut self, server: usize) -> Result<()> {
        self.servers[server].restart().await?;
        self.settled().await
    }

    /// Waits until every server follows one primary and every sentinel knows all of them: only then can the next failover
    /// find a replica to take. Who is the primary is asked each time: on a busy machine one failover may follow another.
    pub async fn settled(&self) -> Result<()> {
        wait_until("every replica to follow the primary", SOON, || async {
            let Some(primary) = self.primary().await else { return false };
            self.servers[primary].is_primary().await && self.servers[primary].replicas().await == REPLICAS
        })
        .await?;
        for sentinel in &self.sentinels {
            wait_until("a sentinel to know all parts", SOON, || async { knows_all(sentinel).await }).await?;
        }
        Ok(())
    }

    async fn agreed_primary(&self) -> Result<usize> {
        poll("the sentinels to agree on a primary", SOON, || self.primary()).await
    }

    async fn successor_of(&self, old: usize) -> Result<usize> {
        poll("a replica to take the primary's place", SOON, || async {
            let new = self.primary().await.filter(|new| *new != old)?;
            self.servers[new].is_primary().await.then_some(new)
        })
        .await
    }
}

/// A sentinel that watches this primary.
fn watching(primary: &Redis, options: &RedisOptions) -> RedisOptions {
    let address = primary.address();
    let sentinel = options
        .as_sentinel()
        .line(&format!("sentinel monitor {MASTER} {} {} {QUORUM}", address.ip(), address.port()))
        .line(&format!("sentinel down-after-milliseconds {MASTER} {}", DOWN_AFTER.as_millis()))
        .line(&format!("sentinel failover-timeout {MASTER} 3000"))
        .line(&format!("sentinel parallel-syncs {MASTER} {REPLICAS}"));
    match options.known_password() {
        Some(password) => sentinel.line(&format!("sentinel auth-pass {MASTER} \"{password}\"")),
        None => sentinel,
    }
}

/// Where a sentinel says the primary is.
async fn named(sentinel: &Redis) -> Result<SocketAddr> {
    let (host, port): (String, u16) = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]).await?;
    format!("{host}:{port}").parse().map_err(|_| Failure::new(format!("a sentinel names {host}:{port}")))
}

/// Whether it sees the other sentinels and every replica up and following, and no failover under way.
async fn knows_all(sentinel: &Redis) -> bool {
    let replicas: Vec<HashMap<String, String>> =
        sentinel.ask(&["SENTINEL", "REPLICAS", MASTER]).await.unwrap_or_default();
    let follows = |replica: &HashMap<String, String>| {
        replica.get("flags").is_some_and(|flags| flags == "slave")
            && replica.get("master-link-status").is_some_and(|status| status == "ok")
    };
    let master: HashMap<String, String> = sentinel.ask(&["SENTINEL", "MASTER", MASTER]).await.unwrap_or_default();
    let others = (SENTINELS - 1).to_string();
    replicas.iter().filter(|replica| follows(replica)).count() == REPLICAS
        && master.get("flags").is_some_and(|flags| flags == "master")
        && master.get("num-other-sentinels") == Some(&others)
}
