//! One server: the connections to it.

use std::sync::Arc;

use super::connector::{Connector, ServerAddress};
use super::era::{Eras, LeaveReason, OnEraEnd};
use super::read_link::ReadLink;
use super::write_link::WriteLink;
use crate::config::RedisConfig;
use crate::error::InvalidRedisConfig;

/// One server, and the connections to it.
pub(crate) struct Node {
    address: ServerAddress,
    pub(super) reads: Arc<ReadLink>,
    pub(super) writes: WriteLink,
    eras: Arc<Eras>,
}

impl Node {
    /// Connects to nothing yet.
    pub(super) fn new(
        connector: Connector,
        config: &RedisConfig,
        on_left: Option<OnEraEnd>,
    ) -> Result<Arc<Self>, InvalidRedisConfig> {
        let address = connector.address().clone();
        let eras = Eras::new(address.to_string(), on_left);
        Ok(Arc::new(Self {
            address,
            writes: WriteLink::new(connector.clone(), config, Arc::clone(&eras))?,
            reads: Arc::new(ReadLink::new(connector, config, Arc::clone(&eras))),
            eras,
        }))
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    /// Leaves its connections, because another server has taken its place.
    pub(super) fn leave(&self) {
        self.eras.end(self.eras.now(), LeaveReason::Moved);
    }
}
