//! How a connection is made, and when the others are left with it.

use std::time::Duration;

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokenvault_core::ports::{StoreCause, StoreError};
use tokio::time::timeout;

use super::connector::{Connector, connection_config};
use super::era::LeaveReason;
use super::query::demoted;
use crate::error::{redis_error, unavailable, was_closed};

/// Why the other connections are not to be believed either, if that is what an error means.
pub(super) fn leave_reason(error: &RedisError) -> Option<LeaveReason> {
    match () {
        () if error.is_timeout() => Some(LeaveReason::Silent),
        () if demoted(error) => Some(LeaveReason::Demoted),
        () if was_closed(error) => Some(LeaveReason::Closed),
        () => None,
    }
}

/// A connection to whatever server answers at an address, for who examines it.
pub(crate) async fn connect_to_anyone(
    connector: &Connector,
    response_timeout: Duration,
) -> Result<MultiplexedConnection, StoreError> {
    let settings = connection_config(connector.connect_timeout, response_timeout);
    let connecting = async { connector.client().await?.get_multiplexed_async_connection_with_config(&settings).await };
    match timeout(connector.connect_timeout, connecting).await {
        Ok(connected) => connected.map_err(|error| redis_error(&error)),
        Err(_) => Err(unavailable(StoreCause::ConnectTimeout)),
    }
}
