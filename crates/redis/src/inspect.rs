//! How a Redis is set up, for whoever examines it. It must change nothing, and never tell what a key holds.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue};
use tokenvault_core::time::Timestamp;

use crate::config::RedisConfig;
use crate::error::{InspectError, redis_error};
use crate::keys;
use crate::link::connect_to_anyone;

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

/// Asks a server.
pub async fn inspect(config: &RedisConfig) -> Result<ServerFacts, InspectError> {
    let mut server = connect_to_anyone(config).await?;
    let (seconds, micros): (u64, u64) = ask(&mut server, &redis::cmd("TIME")).await?;
    let info: String = ask(&mut server, &redis::cmd("INFO")).await?;
    let schema = ask(&mut server, redis::cmd("GET").arg(keys::SCHEMA)).await?;
    let mut scan = redis::cmd("SCAN");
    scan.arg(0).arg("COUNT").arg(SAMPLE);
    let (_, sample): (u64, Vec<Vec<u8>>) = ask(&mut server, &scan).await?;
    Ok(ServerFacts {
        time: Timestamp::from_millis(seconds * 1000 + micros / 1000),
        version: field(&info, "redis_version").to_owned(),
        eviction: field(&info, "maxmemory_policy").to_owned(),
        max_memory: field(&info, "maxmemory").parse().unwrap_or(0),
        append_only: field(&info, "aof_enabled") == "1",
        snapshots: snapshots(&mut server).await,
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
async fn snapshots(server: &mut MultiplexedConnection) -> Option<bool> {
    let mut get = Cmd::new();
    get.arg("CONFIG").arg("GET").arg("save");
    let answer: Vec<String> = ask(server, &get).await.ok()?;
    answer.get(1).map(|points| !points.is_empty())
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
