//! Redis as operators have it: a primary that sentinels name, and a cluster.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokenvault_core::ids::{AttemptId, JobId, JobKey};
use tokenvault_core::ports::{JobStore as _, ServerStore as _, TokenStore, Write, Written};
use tokenvault_core::record::Record;
use tokenvault_core::time::Timestamp;
use tokenvault_redis::{ClusterConfig, RedisConfig, RedisStore, SentinelConfig, ServerAddress};
use tokenvault_tests::harness::cluster::Cluster;
use tokenvault_tests::harness::process::wait_until;
use tokenvault_tests::harness::redis::{Redis, unhurried};
use tokenvault_tests::harness::sentinels::{MASTER, Sentinels};
use tokenvault_tests::harness::{Failure, Result};
use tokenvault_tests::store_contract::bench::Bench;
use tokenvault_tests::store_contract::samples;

/// How many jobs are read and written meanwhile.
const JOBS: u64 = 40;
/// How long a failover may take, and what the store needs beyond it.
const RECOVERED: Duration = Duration::from_secs(20);

fn addresses(nodes: &[String]) -> Result<Vec<ServerAddress>> {
    let parsed = nodes.iter().map(|node| ServerAddress::parse(node).ok_or_else(|| Failure::new(node.clone())));
    parsed.collect()
}

fn by_sentinels(sentinels: &Sentinels) -> Result<RedisConfig> {
    let nodes = addresses(&sentinels.nodes())?;
    let sentinel = SentinelConfig {
        master: MASTER.to_owned(),
        nodes,
        database: 0,
        tls: false,
        username: None,
        password_file: None,
    };
    Ok(RedisConfig { sentinel: Some(sentinel), ack_replicas: 1, ..unhurried("") })
}

fn in_cluster(cluster: &Cluster) -> Result<RedisConfig> {
    let nodes = addresses(&cluster.nodes()[..2])?;
    Ok(RedisConfig { cluster: Some(ClusterConfig { nodes, tls: false }), ack_replicas: 1, ..unhurried("") })
}

/// Forgets everything that the servers keep which take writes.
async fn flush(servers: &[Redis]) -> Result<()> {
    for server in servers {
        if server.is_primary().await {
            redis::cmd("FLUSHALL").query_async::<()>(&mut server.connection().await?).await?;
        }
    }
    Ok(())
}

macro_rules! rules {
    ($($module:ident::$rule:ident,)+) => {
        /// Every rule of the contract, one after the other, each on empty servers.
        async fn every_rule_holds(config: &RedisConfig, servers: &[Redis]) -> Result<()> {
            $(
                flush(servers).await?;
                let bench = Bench::reached_by(config)?;
                bench.store.ready().await.map_err(|error| Failure::new(format!("{}: {error}", stringify!($rule))))?;
                tokenvault_tests::store_contract::$module::$rule(&bench)
                    .await
                    .map_err(|failure| failure.context(stringify!($rule)))?;
            )+
            Ok(())
        }
    };
}

tokenvault_tests::for_each_store_rule!(rules);

#[tokio::test]
async fn every_rule_holds_on_the_primary_that_sentinels_name() -> Result<()> {
    let sentinels = Sentinels::start().await?;
    Box::pin(every_rule_holds(&by_sentinels(&sentinels)?, sentinels.servers())).await
}

#[tokio::test]
async fn every_rule_holds_in_a_cluster() -> Result<()> {
    let cluster = Cluster::start().await?;
    Box::pin(every_rule_holds(&in_cluster(&cluster)?, cluster.servers())).await
}

/// Jobs that are read and written all the time.
struct Traffic {
    store: Arc<dyn TokenStore>,
    reads: AtomicU64,
    failed: AtomicU64,
    missing: AtomicU64,
    over: AtomicBool,
}

impl Traffic {
    async fn over(config: &RedisConfig) -> Result<Arc<Self>> {
        let store = Arc::new(RedisStore::connect(config)?.following_its_servers());
        store.ready().await?;
        for number in 0..JOBS {
            store.create(&job(number), None, AttemptId::from_bits(number + 1)).await?;
        }
        let (reads, failed, missing) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Ok(Arc::new(Self { store, reads, failed, missing, over: AtomicBool::new(false) }))
    }

    /// Reads all jobs again and again; one that fails is read once more.
    async fn read(self: Arc<Self>) {
        while !self.over.load(Ordering::Relaxed) {
            for number in 0..JOBS {
                let key = job(number).key;
                let read = match self.store.read(&key).await {
                    Err(_) => self.store.read(&key).await,
                    read => read,
                };
                self.reads.fetch_add(1, Ordering::Relaxed);
                match read {
                    Ok(Some(_)) => {}
                    Ok(None) => _ = self.missing.fetch_add(1, Ordering::Relaxed),
                    Err(_) => _ = self.failed.fetch_add(1, Ordering::Relaxed),
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Changes every job, as soon as that can be done.
    async fn write_all(&self, attempt: u64) -> Result<()> {
        for number in 0..JOBS {
            let key = job(number).key;
            let attempt = AttemptId::from_bits(attempt * 1_000 + number);
            wait_until("a write", RECOVERED, async || {
                let Ok(Some(stored)) = self.store.load(&key).await else { return false };
                let before = stored.record;
                let after = Record { failures: before.failures + 1, ..before.clone() };
                self.store.write(&Write::between(&before, &after, attempt)).await.is_ok_and(Written::is_done)
            })
            .await?;
        }
        Ok(())
    }

    /// Every job is there, and with its last change. One before it may be lost with a primary that went before its replicas had
    /// heard of it: whoever finds a record older than it was knows what to do.
    async fn all_are_there(&self) -> Result<()> {
        for number in 0..JOBS {
            let stored = self.store.load(&job(number).key).await?.ok_or_else(|| Failure::new("a job is lost"))?;
            assert!(stored.record.failures > 0, "job {number}");
        }
        Ok(())
    }

    /// Ends the reading; no reader was ever told that a job is not there.
    fn finish(&self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        assert_eq!(self.missing.load(Ordering::Relaxed), 0, "a reader was told that a live job is not there");
        (self.reads.load(Ordering::Relaxed), self.failed.load(Ordering::Relaxed))
    }
}

fn job(number: u64) -> Record {
    let id = JobId::parse(format!("job-{number}")).expect("a job id");
    // Far enough away that nothing expires meanwhile.
    let later = Timestamp::from_secs(4_000_000_000);
    let record = samples::record(&JobKey::new(samples::tenant(), id), later);
    Record { keep_until: later, expires_at: later, ..record }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_failovers_of_sentinels_lose_no_job() -> Result<()> {
    let mut sentinels = Sentinels::start().await?;
    let traffic = Traffic::over(&by_sentinels(&sentinels)?).await?;
    let reading = tokio::spawn(Arc::clone(&traffic).read());
    for round in 1..=3 {
        traffic.write_all(round).await?;
        if round == 2 {
            let dead = sentinels.primary().await.ok_or_else(|| Failure::new("no primary"))?;
            sentinels.kill_primary().await?;
            traffic.write_all(10 + round).await?;
            sentinels.heal(dead).await?;
        } else {
            sentinels.failover().await?;
        }
    }
    traffic.write_all(9).await?;
    let (reads, _) = traffic.finish();
    reading.await.map_err(|error| Failure::new(error.to_string()))?;
    assert!(reads > JOBS);
    traffic.all_are_there().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_failovers_of_a_cluster_lose_no_job() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let traffic = Traffic::over(&in_cluster(&cluster)?).await?;
    let reading = tokio::spawn(Arc::clone(&traffic).read());
    for round in 1..=3 {
        traffic.write_all(round).await?;
        let primary = cluster.primary_of(&format!("{{{}}}", job(round).key.shard())).await?;
        if round == 2 {
            cluster.kill(primary).await?;
            traffic.write_all(10 + round).await?;
            cluster.heal(primary).await?;
        } else {
            cluster.failover(primary).await?;
        }
    }
    traffic.write_all(9).await?;
    let (reads, _) = traffic.finish();
    reading.await.map_err(|error| Failure::new(error.to_string()))?;
    assert!(reads > JOBS);
    traffic.all_are_there().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_between_servers_fail_no_read() -> Result<()> {
    let cluster = Cluster::start().await?;
    let traffic = Traffic::over(&in_cluster(&cluster)?).await?;
    let reading = tokio::spawn(Arc::clone(&traffic).read());
    let primaries = cluster.primaries().await?;
    cluster.reshard(primaries[0], primaries[1], 2_000).await?;
    traffic.write_all(1).await?;
    cluster.reshard(primaries[1], primaries[2], 3_000).await?;
    traffic.write_all(2).await?;
    let (reads, failed) = traffic.finish();
    reading.await.map_err(|error| Failure::new(error.to_string()))?;
    assert!(reads > JOBS);
    assert_eq!(failed, 0, "reads that failed twice");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_that_is_replaced_is_shown_by_every_later_connection() -> Result<()> {
    let redis = Redis::options().password("the first").start().await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("password");
    fs::write(&file, "the first\n")?;
    let config = RedisConfig { password_file: Some(file.clone()), ..unhurried(redis.url()) };
    let traffic = Traffic::over(&config).await?;
    let reading = tokio::spawn(Arc::clone(&traffic).read());
    let mut admin = redis.connection().await?;

    fs::write(&file, "the second\n")?;
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg("the second").query_async::<()>(&mut admin).await?;
    redis::cmd("CLIENT")
        .arg("KILL")
        .arg("TYPE")
        .arg("normal")
        .arg("SKIPME")
        .arg("yes")
        .query_async::<u64>(&mut admin)
        .await?;
    traffic.write_all(1).await?;

    let (reads, failed) = traffic.finish();
    reading.await.map_err(|error| Failure::new(error.to_string()))?;
    assert!(reads > JOBS);
    assert_eq!(failed, 0, "reads that failed twice");
    Ok(())
}
