//! How long the records that a dead replica had leased lie about before another replica claims them.
//!
//! Measured in the store, not asked of the vault: a record is an orphan while `lease_holder` names a replica that was
//! killed or stopped, and it is picked up when its `fence` has moved on. The time counts from the blow.
//!
//! It is counted twice: by the clock, and in looks at the store. A look comes [`LOOK`] after the one before it and takes a
//! call of the store, as a replica's own look at the due index does; on a machine that is too busy to run either, the
//! clock goes on and the looks do not. So what is said in looks is what the vault answers for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::jobs::Jobs;
use super::stage::Stage;
use crate::harness::{Failure, Result};
use tokenvault_core::ids::{JobId, JobKey, TenantId};

/// How often the store is looked at; also how exact the figure is.
pub const LOOK: Duration = Duration::from_millis(100);

enum News {
    Died(String, Instant),
    Returned(String),
}

/// What was seen of orphans: how long each lay about, by the clock and in looks.
#[derive(Debug, Default, Clone)]
pub struct Found {
    /// By the clock, in seconds.
    pub seconds: Vec<f64>,
    /// In looks at the store.
    pub looks: Vec<u32>,
}

/// The value that so many percent do not exceed; the default where there are none.
pub fn percentile<T: PartialOrd + Copy + Default>(values: &[T], percent: usize) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|one, other| one.partial_cmp(other).unwrap_or(std::cmp::Ordering::Equal));
    sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// The watch over them.
pub struct Orphans {
    keys: Arc<[String]>,
    news: UnboundedSender<News>,
    watch: JoinHandle<Found>,
}

impl Orphans {
    /// The keys of the records that are watched.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

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
    let keys: Arc<[String]> = jobs.jobs.iter().map(|job| key(stage.realm.name(), &job.id)).collect::<Result<_>>()?;
    let client = stage.redis.client()?;
    let watching = Watching { keys: keys.clone(), ..Watching::default() };
    Ok(Orphans { keys, news, watch: tokio::spawn(watching.run(client, heard)) })
}

/// The key of a job's record, as migrations/0001 has it.
pub(super) fn key(tenant: &str, job: &str) -> Result<String> {
    let parse = |_| Failure::new("a name that the vault would not take");
    let key = JobKey::new(TenantId::parse(tenant).map_err(parse)?, JobId::parse(job).map_err(parse)?);
    Ok(format!("tv:{{{}}}:job:{key}", key.shard()))
}

/// A moment, by the clock and in looks.
#[derive(Clone, Copy, PartialEq)]
struct Then(Instant, u32);

#[derive(Default)]
struct Watching {
    keys: Arc<[String]>,
    looks: u32,
    dead: HashMap<String, Then>,
    outstanding: HashMap<usize, (u64, Then)>,
    found: Found,
}

type Lease = (Option<String>, Option<u64>);

impl Watching {
    async fn run(mut self, client: redis::Client, mut heard: UnboundedReceiver<News>) -> Found {
        let mut connection = None;
        let mut rhythm = tokio::time::interval(LOOK);
        rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                news = heard.recv() => {
                    match news {
                        Some(News::Died(replica, at)) => drop(self.dead.insert(replica, Then(at, self.looks))),
                        Some(News::Returned(replica)) => self.returned(&replica),
                        None => break,
                    }
                    continue;
                }
                _ = rhythm.tick() => self.looks += 1,
            }
            match self.leases(&client, &mut connection).await {
                Ok(leases) => self.look(&leases),
                Err(_) => connection = None, // Redis may be what was killed
            }
        }
        let left: Vec<Then> = self.outstanding.values().map(|(_, since)| *since).collect();
        for since in left {
            self.found(since);
        }
        self.found
    }

    fn found(&mut self, since: Then) {
        self.found.seconds.push(since.0.elapsed().as_secs_f64());
        self.found.looks.push(self.looks - since.1);
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
        for key in self.keys.iter() {
            ask.cmd("HMGET").arg(key).arg("lease_holder").arg("fence");
        }
        ask.query_async(connection).await
    }

    fn look(&mut self, leases: &[Lease]) {
        for (job, (holder, fence)) in leases.iter().enumerate() {
            let since = holder.as_ref().and_then(|holder| self.dead.get(holder)).copied();
            let fence = fence.unwrap_or_default();
            if let Some((of, was)) = self.outstanding.get(&job).copied()
                && (of != fence || since.is_none())
            {
                self.found(was);
                self.outstanding.remove(&job);
            }
            if let Some(since) = since
                && !self.outstanding.contains_key(&job)
            {
                self.outstanding.insert(job, (fence, since));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=200).rev().collect();
        assert_eq!([50, 99, 100].map(|percent| percentile(&values, percent)), [100, 198, 200]);
        assert_eq!(percentile::<u32>(&[], 99), 0);
    }
}
