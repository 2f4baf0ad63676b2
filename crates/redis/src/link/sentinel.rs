//! The primary that sentinels name.
//!
//! All sentinels are asked, and the one whose view is the newest is believed (`config-epoch`): one that was cut off may still name the
//! server that was the primary before. Whether the named server takes writes, it says itself with every answer (`ROLE`).

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures::future::join_all;
use tokenvault_core::ports::{StoreCause, StoreError};
use tokio::sync::Mutex;
use tokio::time::sleep;

use super::connection::connect_to_anyone;
use super::connector::{Connector, Login, ServerAddress};
use super::era::OnEraEnd;
use super::node::Node;
use crate::config::{RedisConfig, SentinelConfig};
use crate::error::{InvalidRedisConfig, unavailable};

/// How often the sentinels are asked.
const EVERY: Duration = Duration::from_millis(500);

/// The primary that sentinels name.
pub(crate) struct SentinelServers {
    config: RedisConfig,
    sentinel: SentinelConfig,
    sentinels: Vec<Connector>,
    on_left: Option<OnEraEnd>,
    current: ArcSwapOption<Node>,
    /// Held by the one that asks.
    asking: Mutex<()>,
}

/// What a sentinel says.
struct SentinelView {
    primary: ServerAddress,
    epoch: u64,
}

impl SentinelServers {
    pub(crate) fn new(
        config: &RedisConfig,
        sentinel: &SentinelConfig,
        on_left: Option<OnEraEnd>,
    ) -> Result<Arc<Self>, InvalidRedisConfig> {
        if sentinel.nodes.is_empty() || sentinel.master.is_empty() {
            return Err(InvalidRedisConfig::Nodes);
        }
        let connector = |address| Self::connector_of(config, sentinel, address);
        let sentinels = sentinel.nodes.iter().map(connector).collect::<Result<Vec<_>, _>>()?;
        if let Some(first) = sentinels.first() {
            // What cannot be used at all is told at once.
            first.client_now()?;
        }
        Ok(Arc::new(Self {
            config: config.clone(),
            sentinel: sentinel.clone(),
            sentinels,
            on_left,
            current: ArcSwapOption::empty(),
            asking: Mutex::default(),
        }))
    }

    /// How one of the sentinels is reached.
    pub(crate) fn connector_of(
        config: &RedisConfig,
        sentinel: &SentinelConfig,
        address: &ServerAddress,
    ) -> Result<Connector, InvalidRedisConfig> {
        let (username, password_file) = (sentinel.username.clone(), sentinel.password_file.clone());
        let login = Login { username, password: None, password_file };
        Connector::new(config, address.clone(), login, sentinel.tls, 0)
    }

    /// The primary, as far as it is known.
    pub(super) async fn node(&self) -> Result<Arc<Node>, StoreError> {
        match self.current.load_full() {
            Some(node) => Ok(node),
            None => self.ask().await,
        }
    }

    /// Asks the sentinels, and moves to the primary that they name.
    pub(crate) async fn ask(&self) -> Result<Arc<Node>, StoreError> {
        let _asking = self.asking.lock().await;
        let views = join_all(self.sentinels.iter().map(|sentinel| self.view_of(sentinel))).await;
        let newest = views.into_iter().flatten().max_by_key(|view| view.epoch);
        let Some(view) = newest else { return Err(unavailable(StoreCause::NoPrimary)) };
        let before = self.current.load_full();
        if let Some(node) = before.as_ref().filter(|node| *node.address() == view.primary) {
            return Ok(Arc::clone(node));
        }
        let SentinelConfig { database, tls, .. } = self.sentinel;
        let connector = Connector::new(&self.config, view.primary, self.config.login(), tls, database);
        let node = connector.and_then(|connector| Node::new(connector, &self.config, self.on_left.clone()));
        let node = node.map_err(|_| unavailable(StoreCause::NoPrimary))?;
        self.current.store(Some(Arc::clone(&node)));
        if let Some(before) = before {
            tracing::warn!(from = %before.address(), to = %node.address(), "the sentinels name another primary");
            before.leave();
        }
        Ok(node)
    }

    async fn view_of(&self, sentinel: &Connector) -> Option<SentinelView> {
        let mut connection = connect_to_anyone(sentinel, self.config.connect_timeout).await.ok()?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("MASTER").arg(&self.sentinel.master);
        let said: BTreeMap<String, String> = ask.query_async(&mut connection).await.ok()?;
        let primary = ServerAddress { host: said.get("ip")?.clone(), port: said.get("port")?.parse().ok()? };
        Some(SentinelView { primary, epoch: said.get("config-epoch")?.parse().ok()? })
    }

    /// Asks again and again, as long as somebody reads.
    pub(super) async fn watch(this: Weak<Self>) {
        loop {
            sleep(EVERY).await;
            let Some(this) = this.upgrade() else { return };
            // Who needs the primary meanwhile is told why there is none.
            drop(this.ask().await);
        }
    }
}
