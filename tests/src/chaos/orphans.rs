//! How long the records that a dead replica had leased lie about before another replica claims them.
//!
//! Measured in the store, not asked of the vault: a record is an orphan while `lease_holder` names a replica that was
//! killed or stopped, and it is picked up when its `fence` has moved on. The time counts from the blow.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use super::jobs::Jobs;
use super::stage::Stage;
use crate::harness::{Failure, Result};
use tokenvault_core::ids::{JobId, JobKey, TenantId};

/// How often the store is looked at; also how exact the figure is.
const LOOK: Duration = Duration::from_millis(100);

enum News {
    Died(String, Instant),
    Returned(String),
}

/// What was seen of orphans.
#[derive(Debug, Default, Clone, Copy)]
pub struct Found {
    /// How many there were.
    pub orphans: usize,
    /// The longest that one lay about.
    pub longest: Duration,
}

/// The watch over them.
pub struct Orphans {
    news: UnboundedSender<News>,
    watch: JoinHandle<Found>,
}

impl Orphans {
    /// This replica was killed or stopped just now.
    pub fn died(&self, replica: Option<String>) {
        if let Some(replica) = replica {
            drop(self.news.send(News::Died(replica, Instant::now())));
        }
    }

    /// This replica is about to go on.
    pub fn returned(&self, replica: Option<String>) {
        if let Some(replica) = replica {
            drop(self.news.send(News::Returned(replica)));
        }
    }

    /// What was seen in all. An orphan that nobody has picked up by now has lain about until now.
    pub async fn finish(self) -> Found {
        drop(self.news);
        self.watch.await.unwrap_or_default()
    }
}

/// Begins to watch.
pub fn watch(stage: &Stage, jobs: &Arc<Jobs>) -> Result<Orphans> {
    let (news, heard) = unbounded_channel();
    let keys = jobs.jobs.iter().map(|job| key(stage.realm.name(), &job.id)).collect::<Result<Vec<_>>>()?;
    let client = stage.redis.client()?;
    let watching = Watching { keys, dead: HashMap::new(), outstanding: HashMap::new(), found: Found::default() };
    Ok(Orphans { news, watch: tokio::spawn(watching.run(client, heard)) })
}

/// The key of a job's record, as migrations/0001 has it.
pub(super) fn key(tenant: &str, job: &str) -> Result<String> {
    let parse = |_| Failure::new("a name that the vault would not take");
    let key = JobKey::new(TenantId::parse(tenant).map_err(parse)?, JobId::parse(job).map_err(parse)?);
    Ok(format!("tv:{{{}}}:job:{key}", key.shard()))
}

struct Watching {
    keys: Vec<String>,
    dead: HashMap<String, Instant>,
    outstanding: HashMap<usize, (u64, Instant)>,
    found: Found,
}

type Lease = (Option<String>, Option<u64>);

impl Watching {
    async fn run(mut self, client: redis::Client, mut heard: UnboundedReceiver<News>) -> Found {
        let mut connection = None;
        loop {
            tokio::select! {
                news = heard.recv() => match news {
                    Some(News::Died(replica, at)) => drop(self.dead.insert(replica, at)),
                    Some(News::Returned(replica)) => self.returned(&replica),
                    None => break,
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.leases(&client, &mut connection).await {
                Ok(leases) => self.look(&leases),
                Err(_) => connection = None, // Redis may be what was killed
            }
        }
        let left: Vec<Instant> = self.outstanding.values().map(|(_, since)| *since).collect();
        for since in left {
            self.found.longest = self.found.longest.max(since.elapsed());
        }
        self.found
    }

    fn returned(&mut self, replica: &str) {
        if let Some(since) = self.dead.remove(replica) {
            self.outstanding.retain(|_, (_, of)| *of != since);
        }
    }

    async fn leases(
        &self,
        client: &redis::Client,
        kept: &mut Option<MultiplexedConnection>,
    ) -> redis::RedisResult<Vec<Lease>> {
        let connection = match kept {
            Some(connection) => connection,
            None => kept.insert(client.get_multiplexed_async_connection().await?),
        };
        let mut ask = redis::pipe();
        for key in &self.keys {
            ask.cmd("HMGET").arg(key).arg("lease_holder").arg("fence");
        }
        ask.query_async(connection).await
    }

    fn look(&mut self, leases: &[Lease]) {
        for (job, (holder, fence)) in leases.iter().enumerate() {
            let since = holder.as_ref().and_then(|holder| self.dead.get(holder));
            let fence = fence.unwrap_or_default();
            if let Some((of, was)) = self.outstanding.get(&job).copied()
                && (of != fence || since.is_none())
            {
                self.found.longest = self.found.longest.max(was.elapsed());
                self.outstanding.remove(&job);
            }
            if let Some(since) = since
                && !self.outstanding.contains_key(&job)
            {
                self.outstanding.insert(job, (fence, *since));
                self.found.orphans += 1;
            }
        }
    }
}
