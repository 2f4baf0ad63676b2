//! The primaries of a cluster, and which slots each of them keeps.
//!
//! Nothing is read from a replica. Where a slot has moved, the server that was asked says so and has done nothing (`MOVED`), so the map
//! is read again and the command sent once more. A slot that is just being moved is asked for where it goes (`ASK`); a script whose
//! keys are in both places waits a moment (`TRYAGAIN`).
//!
//! The client library has a router of its own. It sends again up to 16 times what may have been done, and takes for `WAIT` the least
//! of all primaries; a write here must go to one connection, and be sent again only by whoever knows that it may be.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{Value, from_redis_value};
use tokenvault_core::ports::{StoreCause, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::connection::connect_to_anyone;
use super::connector::{Connector, ServerAddress};
use super::era::{OnEraEnd, instant};
use super::node::Node;
use super::slot::{SLOTS, Slot};
use crate::config::{ClusterConfig, RedisConfig};
use crate::error::{InvalidRedisConfig, unavailable};

/// How often the map is read when nothing says that it has changed.
const EVERY: Duration = Duration::from_secs(1);
/// A map that was read so lately is not read again for another answer that it is old.
const FRESH: Duration = Duration::from_millis(20);

/// The primaries of a cluster.
pub(crate) struct ClusterServers {
    config: RedisConfig,
    cluster: ClusterConfig,
    on_left: Option<OnEraEnd>,
    map: ArcSwap<SlotMap>,
    /// When the map was read last; held by the one that reads it.
    reading: Mutex<Option<Instant>>,
}

/// Who keeps which slot.
#[derive(Default)]
struct SlotMap {
    primaries: Vec<Arc<Node>>,
    /// Who follows them.
    replicas: Vec<ServerAddress>,
    /// By slot, the place of its primary among them.
    of_slot: Vec<Option<u16>>,
}

impl SlotMap {
    fn node(&self, slot: Slot) -> Option<Arc<Node>> {
        let place = (*self.of_slot.get(usize::from(slot.0))?)?;
        self.primaries.get(usize::from(place)).cloned()
    }
}

/// What a server says of the cluster.
struct ClusterView {
    epoch: u64,
    ranges: Vec<SlotRange>,
}

/// Slots next to each other, and who keeps them.
#[derive(Debug, PartialEq, Eq)]
struct SlotRange {
    from: u16,
    to: u16,
    primary: ServerAddress,
    replicas: Vec<ServerAddress>,
}

impl ClusterServers {
    pub(crate) fn new(
        config: &RedisConfig,
        cluster: &ClusterConfig,
        on_left: Option<OnEraEnd>,
    ) -> Result<Arc<Self>, InvalidRedisConfig> {
        let first = cluster.nodes.first().ok_or(InvalidRedisConfig::Nodes)?;
        // What cannot be used at all is told at once.
        Connector::new(config, first.clone(), config.login(), cluster.tls, 0)?.client_now()?;
        Ok(Arc::new(Self {
            config: config.clone(),
            cluster: cluster.clone(),
            on_left,
            map: ArcSwap::default(),
            reading: Mutex::default(),
        }))
    }

    /// The server that keeps a slot.
    pub(super) async fn node(&self, slot: Slot) -> Result<Arc<Node>, StoreError> {
        if let Some(node) = self.map.load().node(slot) {
            return Ok(node);
        }
        self.read_map().await?;
        self.map.load().node(slot).ok_or_else(|| unavailable(StoreCause::NoPrimary))
    }

    /// All servers that keep slots.
    pub(crate) async fn nodes(&self) -> Result<Vec<Arc<Node>>, StoreError> {
        if self.map.load().primaries.is_empty() {
            self.read_map().await?;
        }
        Ok(self.map.load().primaries.clone())
    }

    /// The servers that follow others, as far as they were told of.
    pub(crate) async fn replicas(&self) -> Vec<ServerAddress> {
        drop(self.read_map().await);
        self.map.load().replicas.clone()
    }

    /// The server at an address that another one named: one of those that are known, or a new one.
    pub(super) fn node_at(&self, address: &ServerAddress) -> Result<Arc<Node>, StoreError> {
        let known = self.map.load().primaries.iter().find(|node| node.address() == address).cloned();
        known.map_or_else(|| self.new_node(address), Ok)
    }

    fn new_node(&self, address: &ServerAddress) -> Result<Arc<Node>, StoreError> {
        let node = self.connector(address).and_then(|at| Node::new(at, &self.config, self.on_left.clone()));
        node.map_err(|_| unavailable(StoreCause::NoPrimary))
    }

    fn connector(&self, address: &ServerAddress) -> Result<Connector, InvalidRedisConfig> {
        Connector::new(&self.config, address.clone(), self.config.login(), self.cluster.tls, 0)
    }

    /// Reads the map, of the server whose view is the newest.
    pub(super) async fn read_map(&self) -> Result<(), StoreError> {
        let mut read_at = self.reading.lock().await;
        if read_at.is_some_and(|at| instant().duration_since(at) < FRESH) {
            return Ok(());
        }
        let before = self.map.load_full();
        let mut addresses = self.cluster.nodes.clone();
        addresses.extend(before.primaries.iter().map(|node| node.address().clone()));
        addresses.sort_unstable();
        addresses.dedup();
        let views = join_all(addresses.iter().map(|address| self.view_of(address))).await;
        let newest = views.into_iter().flatten().max_by_key(|view| view.epoch);
        *read_at = Some(instant());
        let Some(view) = newest else { return Err(unavailable(StoreCause::NoPrimary)) };
        let map = self.map_of(&before, &view)?;
        let gone = |node: &&Arc<Node>| !map.primaries.iter().any(|other| Arc::ptr_eq(node, other));
        let gone: Vec<_> = before.primaries.iter().filter(gone).cloned().collect();
        self.map.store(Arc::new(map));
        for node in gone {
            tracing::warn!(address = %node.address(), "a server of the cluster keeps no slots any more, or is no primary");
            node.leave();
        }
        Ok(())
    }

    fn map_of(&self, before: &SlotMap, view: &ClusterView) -> Result<SlotMap, StoreError> {
        let known: HashMap<&ServerAddress, &Arc<Node>> =
            before.primaries.iter().map(|node| (node.address(), node)).collect();
        let mut replicas: Vec<ServerAddress> =
            view.ranges.iter().flat_map(|range| range.replicas.iter().cloned()).collect();
        replicas.sort_unstable();
        replicas.dedup();
        let mut map = SlotMap { primaries: Vec::new(), replicas, of_slot: vec![None; usize::from(SLOTS)] };
        for SlotRange { from, to, primary: address, .. } in &view.ranges {
            let known_place = map.primaries.iter().position(|node| node.address() == address);
            let place = if let Some(place) = known_place {
                place
            } else {
                let node = known.get(address).map_or_else(|| self.new_node(address), |node| Ok(Arc::clone(node)))?;
                map.primaries.push(node);
                map.primaries.len() - 1
            };
            let slots = map.of_slot.get_mut(usize::from(*from)..=usize::from(*to));
            slots.ok_or_else(|| unavailable(StoreCause::Protocol))?.fill(u16::try_from(place).ok());
        }
        Ok(map)
    }

    async fn view_of(&self, address: &ServerAddress) -> Option<ClusterView> {
        let connector = self.connector(address).ok()?;
        let asking = async {
            let mut connection = connect_to_anyone(&connector, self.config.connect_timeout).await.ok()?;
            view(&mut connection, address).await
        };
        timeout(self.config.connect_timeout * 2, asking).await.ok()?
    }

    /// Reads the map again and again, as long as somebody reads.
    pub(super) async fn watch(this: Weak<Self>) {
        loop {
            sleep(EVERY).await;
            let Some(this) = this.upgrade() else { return };
            // Who needs a server meanwhile is told why there is none.
            drop(this.read_map().await);
        }
    }
}

/// What a server says, unless it says that the cluster does not work.
async fn view(connection: &mut MultiplexedConnection, address: &ServerAddress) -> Option<ClusterView> {
    let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(connection).await.ok()?;
    let field =
        |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end);
    if field("cluster_state") != Some("ok") {
        return None;
    }
    let epoch = field("cluster_current_epoch")?.parse().ok()?;
    let slots: Vec<Value> = redis::cmd("CLUSTER").arg("SLOTS").query_async(connection).await.ok()?;
    let ranges = slots.into_iter().map(|range| read_range(range, address)).collect::<Option<_>>()?;
    Some(ClusterView { epoch, ranges })
}

/// `[from, to, [host, port, …], replicas…]`.
fn read_range(range: Value, asked: &ServerAddress) -> Option<SlotRange> {
    let Value::Array(parts) = range else { return None };
    let mut parts = parts.into_iter();
    let (from, to) = (from_redis_value(parts.next()?).ok()?, from_redis_value(parts.next()?).ok()?);
    let primary = read_address(parts.next()?, asked)?;
    Some(SlotRange { from, to, primary, replicas: parts.filter_map(|part| read_address(part, asked)).collect() })
}

/// A server that does not know by which host it is reached says none: it is the one that was asked.
fn read_address(server: Value, asked: &ServerAddress) -> Option<ServerAddress> {
    let Value::Array(parts) = server else { return None };
    let mut parts = parts.into_iter();
    let host: Option<String> = from_redis_value(parts.next()?).ok()?;
    let port = from_redis_value(parts.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?").unwrap_or_else(|| asked.host.clone());
    Some(ServerAddress { host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_says_no_host_of_itself_is_the_one_that_was_asked() {
        let asked = ServerAddress::parse("redis-1:6379").expect("an address");
        let range = |host| {
            Value::Array(vec![
                Value::Int(0),
                Value::Int(5460),
                Value::Array(vec![host, Value::Int(6380), Value::BulkString(b"id".to_vec())]),
            ])
        };
        let named = |address: &str| {
            let primary = ServerAddress::parse(address).expect("an address");
            Some(SlotRange { from: 0, to: 5460, primary, replicas: Vec::new() })
        };
        let of = |host| read_range(range(host), &asked);
        assert_eq!(of(Value::BulkString(b"10.0.0.7".to_vec())), named("10.0.0.7:6380"));
        assert_eq!(of(Value::Nil), named("redis-1:6380"));
        assert_eq!(of(Value::BulkString(Vec::new())), named("redis-1:6380"));
        assert_eq!(read_range(Value::Nil, &asked), None);
    }
}
