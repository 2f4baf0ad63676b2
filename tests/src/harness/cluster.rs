//! A Redis Cluster: three primaries that share the slots, each with a replica.
//!
//! All of them listen on loopback, at ports of their own, and their patience is short so that a test sees a failover end.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::process::{SOON, find_program, poll, wait_until};
use super::redis::{Redis, RedisOptions};
use super::{Failure, Result, ports};

/// How long a node may be silent before the others think it is gone.
pub const NODE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many primaries share the slots.
pub const PRIMARIES: usize = 3;

const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;
/// How much of what `redis-cli` says a failing test shows: a line for each slot that it moves is too much.
const LINES_SHOWN: usize = 20;

/// Three primaries with a replica each; gone with their data when dropped.
pub struct Cluster {
    nodes: Vec<Redis>,
    /// Each node's name in the cluster.
    ids: Vec<String>,
    password: Option<String>,
}

/// One node as another sees it: a line of `CLUSTER NODES`.
struct Seen {
    id: String,
    flags: String,
    /// Whom it replicates.
    primary: String,
    linked: bool,
    slots: usize,
}

impl Seen {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (id, _address, flags, primary) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let linked = words.nth(3)? == "connected";
        let slots = words.filter_map(slots_in).sum();
        Some(Self { id: id.to_owned(), flags: flags.to_owned(), primary: primary.to_owned(), linked, slots })
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.split(',').any(|each| each == flag)
    }

    /// Neither gone nor thought to be gone.
    fn lives(&self) -> bool {
        !self.has("fail") && !self.has("fail?") && !self.has("handshake")
    }
}

/// How many slots `0-5460` or `7` is; a slot under way (`[7->-…]`) is counted where it still is.
fn slots_in(range: &str) -> Option<usize> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    Some(last.parse::<usize>().ok()?.checked_sub(first.parse().ok()?)? + 1)
}

impl Cluster {
    /// Empty nodes in memory.
    pub async fn start() -> Result<Self> {
        Self::with(&Redis::options()).await
    }

    /// Nodes that are set up like this. Ready once every node says so of the whole cluster.
    pub async fn with(options: &RedisOptions) -> Result<Self> {
        let mut nodes = Vec::new();
        let mut addresses = Vec::new();
        for _ in 0..NODES {
            let bus = ports::free()?;
            let node = options
                .clone()
                .member()
                .line("cluster-enabled yes")
                .line(&format!("cluster-port {bus}"))
                .line(&format!("cluster-node-timeout {}", NODE_TIMEOUT.as_millis()))
                .line("repl-diskless-sync-delay 0")
                .start()
                .await?;
            addresses.push(format!("{}@{bus}", node.address()));
            nodes.push(node);
        }
        let mut cluster = Self { nodes, ids: Vec::new(), password: options.known_password().map(str::to_owned) };
        let mut create = vec!["--cluster", "create"];
        create.extend(addresses.iter().map(String::as_str));
        create.extend(["--cluster-replicas", "1", "--cluster-yes"]);
        cluster.command_line(&create).await?;
        for node in &cluster.nodes {
            cluster.ids.push(node.ask(&["CLUSTER", "MYID"]).await?);
        }
        cluster.settled().await?;
        Ok(cluster)
    }

    /// `HOST:PORT` of every node, as `redis.cluster.nodes` has them.
    pub fn nodes(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address().to_string()).collect()
    }

    /// The nodes.
    pub fn servers(&self) -> &[Redis] {
        &self.nodes
    }

    /// The same, to be killed and paused.
    pub fn servers_mut(&mut self) -> &mut [Redis] {
        &mut self.nodes
    }

    /// The nodes that have slots, as most of the nodes see it.
    pub async fn primaries(&self) -> Result<Vec<usize>> {
        poll("the cluster to agree on its primaries", SOON, || async {
            let mut views = Vec::new();
            for node in &self.nodes {
                views.extend(seen_by(node).await.ok().map(|seen| self.with_slots(&seen)));
            }
            let majority = |view: &&Vec<usize>| views.iter().filter(|other| other == view).count() > NODES / 2;
            views.iter().find(majority).cloned()
        })
        .await
    }

    /// How many slots a node has.
    pub async fn slots(&self, node: usize) -> Result<usize> {
        let seen = seen_by(&self.nodes[node]).await?;
        Ok(seen.iter().find(|each| each.id == self.ids[node]).map_or(0, |own| own.slots))
    }

    /// The node that has the slot of this key: the others send its clients away.
    pub async fn primary_of(&self, key: &str) -> Result<usize> {
        for node in self.primaries().await? {
            if self.nodes[node].ask::<usize>(&["EXISTS", key]).await.is_ok() {
                return Ok(node);
            }
        }
        Err(Failure::new(format!("no node has the slot of {key}")))
    }

    /// Lets a primary and its replica change places, as an operator does; returns who has the slots after it.
    pub async fn failover(&mut self, primary: usize) -> Result<usize> {
        let replica = self.replica_of(primary).await?;
        let asked: String = self.nodes[replica].ask(&["CLUSTER", "FAILOVER"]).await?;
        if asked != "OK" {
            return Err(Failure::new(format!("CLUSTER FAILOVER: {asked}")));
        }
        self.taken_over(replica).await
    }

    /// SIGKILL to a primary; returns who has its slots after it. [`Self::heal`] starts the killed one again.
    pub async fn kill(&mut self, primary: usize) -> Result<usize> {
        let replica = self.replica_of(primary).await?;
        self.nodes[primary].kill().await?;
        self.taken_over(replica).await
    }

    /// Starts a node again and waits until it follows who took its place.
    pub async fn heal(&mut self, node: usize) -> Result<()> {
        self.nodes[node].restart().await?;
        self.settled().await
    }

    /// Moves so many slots, the lowest first and with what is in them, from one primary to another. Leave it one at least: the
    /// replica of a primary without slots goes over to the other, and Valkey lets no primary without replicas give its last away.
    pub async fn reshard(&self, from: usize, to: usize, slots: usize) -> Result<()> {
        let (slots, entry) = (slots.to_string(), self.nodes[from].address().to_string());
        let (from, to) = (self.ids[from].as_str(), self.ids[to].as_str());
        let ends = ["--cluster-from", from, "--cluster-to", to, "--cluster-slots", &slots];
        self.command_line(&[&["--cluster", "reshard", &entry], &ends[..], &["--cluster-yes"]].concat()).await?;
        self.settled().await
    }

    /// Waits until every node sees every slot held and every primary followed by a replica: only then can the next failover
    /// find one to take.
    pub async fn settled(&self) -> Result<()> {
        for node in &self.nodes {
            wait_until("a node to see the whole cluster", SOON, || async { sees_all(node).await }).await?;
        }
        for primary in self.primaries().await? {
            let node = &self.nodes[primary];
            wait_until("a primary to have a replica", SOON, || async { node.replicas().await >= 1 }).await?;
        }
        Ok(())
    }

    fn with_slots(&self, seen: &[Seen]) -> Vec<usize> {
        let has_slots = |id: &String| seen.iter().any(|each| each.id == *id && each.has("master") && each.slots > 0);
        (0..self.ids.len()).filter(|node| has_slots(&self.ids[*node])).collect()
    }

    async fn replica_of(&self, primary: usize) -> Result<usize> {
        let seen = seen_by(&self.nodes[primary]).await?;
        let follows = |id: &String| seen.iter().any(|each| each.id == *id && each.primary == self.ids[primary]);
        let replica = self.ids.iter().position(follows);
        replica.ok_or_else(|| Failure::new(format!("{} has no replica", self.nodes[primary].address())))
    }

    /// Waits until most of the nodes see this one with slots; returns it.
    async fn taken_over(&self, replica: usize) -> Result<usize> {
        poll("a replica to take the slots", SOON, || async {
            self.primaries().await.is_ok_and(|primaries| primaries.contains(&replica)).then_some(replica)
        })
        .await
    }

    /// Runs `redis-cli`; the password goes through its environment, never onto a command line.
    async fn command_line(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(redis_cli()?);
        command.args(arguments).stdin(Stdio::null());
        if let Some(password) = &self.password {
            command.env("REDISCLI_AUTH", password);
        }
        let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(std::io::Error::other)??;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() || said.contains("[ERR]") {
            let errors = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().chain(errors.lines()).collect();
            let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n");
            return Err(Failure::new(format!("redis-cli {}: {last}", arguments.join(" "))));
        }
        Ok(())
    }
}

fn redis_cli() -> Result<PathBuf> {
    find_program("redis-cli").ok_or_else(|| {
        Failure::new("redis-cli is missing: run `./test --install-only` or `apt-get install redis-tools`")
    })
}

async fn seen_by(node: &Redis) -> Result<Vec<Seen>> {
    let nodes: String = node.ask(&["CLUSTER", "NODES"]).await?;
    Ok(nodes.lines().filter_map(Seen::parse).collect())
}

/// Whether it sees every node up, and every slot held.
async fn sees_all(node: &Redis) -> bool {
    let info = node.ask::<String>(&["CLUSTER", "INFO"]).await.unwrap_or_default();
    let seen = seen_by(node).await.unwrap_or_default();
    info.contains("cluster_state:ok")
        && seen.iter().filter(|each| each.lives() && each.linked).count() == NODES
        && seen.iter().map(|each| each.slots).sum::<usize>() == SLOTS
}
