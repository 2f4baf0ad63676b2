//! How a Redis is set up, for whoever examines it. It must change nothing, and never tell what a key holds.

use std::collections::{BTreeMap, BTreeSet};

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tokenvault_core::time::Timestamp;

use crate::config::{ClusterConfig, RedisConfig, SentinelConfig};
use crate::error::{InspectError, InvalidRedisConfig, redis_error};
use crate::keys;
use crate::link::{ClusterServers, Connector, SentinelServers, ServerAddress, connect_to_anyone};

/// How many keys are looked at, about.
const SAMPLE: u32 = 1000;
/// What all of the vault's keys begin with.
const OURS: &[u8] = b"tv:";

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its clock.
    pub time: Timestamp,
    /// Its version, as it writes it; Valkey says the version of Redis that it is compatible with.
    pub version: String,
    /// `maxmemory-policy`.
    pub eviction: String,
    /// `maxmemory`, 0 for no limit.
    pub max_memory: u64,
    /// Whether every write goes to the append-only file.
    pub append_only: bool,
    /// Whether snapshots are written by themselves; `None` where the server does not tell this client.
    pub snapshots: Option<bool>,
    /// `min-replicas-to-write`: with fewer replicas it takes no writes; `None` where the server does not tell.
    pub least_replicas: Option<u32>,
    /// Whether it follows another server, and so takes no writes.
    pub replica: bool,
    /// Whether it tells its role to whoever asks with `ROLE`, as the vault does with every call.
    pub tells_role: bool,
    /// How many replicas follow it.
    pub replicas: u32,
    /// What it says about the schema of the vault's keys; `None` where there are none yet.
    pub schema: Option<String>,
    /// How many of some keys of the database are not the vault's.
    pub strangers: usize,
}

/// What was found of all servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The servers that answered, primaries first: the one of the URL, the sentinels' primary and its replicas, or the cluster's.
    pub servers: Vec<(ServerAddress, ServerFacts)>,
    /// Servers that are named by others and do not answer.
    pub silent: Vec<ServerAddress>,
    /// What holds the servers together.
    pub topology: Topology,
}

/// What holds several servers together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Topology {
    /// There is one name.
    Single,
    /// Sentinels name the primary.
    Sentinel {
        /// How many sentinels the configuration names.
        named: usize,
        /// How many of them answer and know the primary.
        answering: usize,
        /// How many must agree that the primary is gone, as one of them says.
        quorum: usize,
    },
    /// A cluster.
    Cluster {
        /// `cluster-require-full-coverage`: whether all of it stops with a part of it; `None` where no server tells.
        full_coverage: Option<bool>,
    },
}

/// Asks the servers, and what holds them together.
pub async fn inspect(config: &RedisConfig) -> Result<Inspection, InspectError> {
    match (&config.sentinel, &config.cluster) {
        (Some(sentinel), _) => inspect_sentinels(config, sentinel).await,
        (None, Some(cluster)) => inspect_cluster(config, cluster).await,
        (None, None) => {
            let connector = Connector::of_url(config)?;
            let facts = inspect_one(config, &connector).await?;
            let servers = vec![(connector.address().clone(), facts)];
            Ok(Inspection { servers, silent: Vec::new(), topology: Topology::Single })
        }
    }
}

async fn inspect_sentinels(config: &RedisConfig, sentinel: &SentinelConfig) -> Result<Inspection, InspectError> {
    let primary = SentinelServers::new(config, sentinel, None)?.ask().await?.address().clone();
    let (mut answering, mut quorum, mut replicas) = (0, 0, BTreeSet::new());
    for address in &sentinel.nodes {
        let connector = SentinelServers::connector_of(config, sentinel, address)?;
        let Ok(mut server) = connect_to_anyone(&connector, config.response_timeout).await else { continue };
        let mut about = Cmd::new();
        about.arg("SENTINEL").arg("MASTER").arg(&sentinel.master);
        let Ok(said) = ask::<BTreeMap<String, String>>(&mut server, &about).await else { continue };
        answering += 1;
        quorum = said.get("quorum").and_then(|text| text.parse().ok()).unwrap_or(quorum);
        let mut of_replicas = Cmd::new();
        of_replicas.arg("SENTINEL").arg("REPLICAS").arg(&sentinel.master);
        let said: Vec<BTreeMap<String, String>> = ask(&mut server, &of_replicas).await.unwrap_or_default();
        let address = |of: &BTreeMap<String, String>| {
            Some(ServerAddress { host: of.get("ip")?.clone(), port: of.get("port")?.parse().ok()? })
        };
        replicas.extend(said.iter().filter_map(address));
    }
    replicas.remove(&primary);
    let connector = |address: &ServerAddress| {
        Connector::new(config, address.clone(), config.login(), sentinel.tls, sentinel.database)
    };
    let facts = inspect_one(config, &connector(&primary)?).await?;
    let topology = Topology::Sentinel { named: sentinel.nodes.len(), answering, quorum };
    with_replicas(config, vec![(primary, facts)], replicas, topology, connector).await
}

async fn inspect_cluster(config: &RedisConfig, cluster: &ClusterConfig) -> Result<Inspection, InspectError> {
    let servers = ClusterServers::new(config, cluster, None)?;
    let primaries: Vec<ServerAddress> = servers.nodes().await?.iter().map(|node| node.address().clone()).collect();
    let connector = |address: &ServerAddress| Connector::new(config, address.clone(), config.login(), cluster.tls, 0);
    let (mut found, mut full_coverage) = (Vec::new(), None);
    for address in &primaries {
        let connector = connector(address)?;
        let facts = inspect_one(config, &connector).await?;
        if let Ok(mut server) = connect_to_anyone(&connector, config.response_timeout).await {
            let setting = setting(&mut server, "cluster-require-full-coverage").await;
            full_coverage = setting.map(|value| value == "yes").or(full_coverage);
        }
        found.push((address.clone(), facts));
    }
    let replicas = servers.replicas().await.into_iter().collect();
    with_replicas(config, found, replicas, Topology::Cluster { full_coverage }, connector).await
}

async fn with_replicas(
    config: &RedisConfig,
    mut servers: Vec<(ServerAddress, ServerFacts)>,
    replicas: BTreeSet<ServerAddress>,
    topology: Topology,
    connector: impl Fn(&ServerAddress) -> Result<Connector, InvalidRedisConfig>,
) -> Result<Inspection, InspectError> {
    let mut silent = Vec::new();
    for address in replicas {
        match inspect_one(config, &connector(&address)?).await {
            Ok(facts) => servers.push((address, facts)),
            Err(_) => silent.push(address),
        }
    }
    Ok(Inspection { servers, silent, topology })
}

/// Asks a server.
async fn inspect_one(config: &RedisConfig, connector: &Connector) -> Result<ServerFacts, InspectError> {
    let mut server = connect_to_anyone(connector, config.response_timeout).await?;
    let (seconds, micros): (u64, u64) = ask(&mut server, &redis::cmd("TIME")).await?;
    let info: String = ask(&mut server, &redis::cmd("INFO")).await?;
    // In a cluster another server may keep it.
    let schema = ask(&mut server, redis::cmd("GET").arg(keys::SCHEMA)).await;
    let schema = if config.cluster.is_some() { schema.unwrap_or_default() } else { schema? };
    let mut scan = redis::cmd("SCAN");
    scan.arg(0).arg("COUNT").arg(SAMPLE);
    let (_, sample): (u64, Vec<Vec<u8>>) = ask(&mut server, &scan).await?;
    Ok(ServerFacts {
        time: Timestamp::from_millis(seconds * 1000 + micros / 1000),
        version: field(&info, "redis_version").to_owned(),
        eviction: field(&info, "maxmemory_policy").to_owned(),
        max_memory: field(&info, "maxmemory").parse().unwrap_or(0),
        append_only: field(&info, "aof_enabled") == "1",
        snapshots: setting(&mut server, "save").await.map(|points| !points.is_empty()),
        least_replicas: setting(&mut server, "min-replicas-to-write").await.and_then(|count| count.parse().ok()),
        replica: field(&info, "role") == "slave",
        tells_role: ask::<redis::Value>(&mut server, &redis::cmd("ROLE")).await.is_ok(),
        replicas: field(&info, "connected_slaves").parse().unwrap_or(0),
        schema,
        strangers: sample.iter().filter(|key| !key.starts_with(OURS)).count(),
    })
}

async fn ask<T: FromRedisValue>(server: &mut MultiplexedConnection, command: &Cmd) -> Result<T, InspectError> {
    Ok(command.query_async(server).await.map_err(|error| redis_error(&error))?)
}

/// Managed servers often keep `CONFIG` to themselves.
async fn setting(server: &mut MultiplexedConnection, name: &str) -> Option<String> {
    let mut get = Cmd::new();
    get.arg("CONFIG").arg("GET").arg(name);
    let answer: Vec<String> = ask(server, &get).await.ok()?;
    answer.into_iter().nth(1)
}

fn field<'a>(info: &'a str, name: &str) -> &'a str {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap_or_default().trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let info = "# Memory\r\nmaxmemory_human:1G\r\nmaxmemory:1073741824\r\nmaxmemory_policy:noeviction\r\n";
        assert_eq!(field(info, "maxmemory"), "1073741824");
        assert_eq!(field(info, "maxmemory_policy"), "noeviction");
        assert_eq!(field(info, "role"), "");
    }
}
