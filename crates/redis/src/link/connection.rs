//! How a connection is made, and when the others are left with it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokenvault_core::ports::StoreCause;
use tokio::time::timeout;

use super::era::LeaveReason;
use super::query::demoted;
use crate::config::RedisConfig;
use crate::error::{InspectError, redis_error, unavailable, was_closed};

/// Why the other connections are not to be believed either, if that is what an error means.
pub(super) fn leave_reason(error: &RedisError) -> Option<LeaveReason> {
    match () {
        () if error.is_timeout() => Some(LeaveReason::Silent),
        () if demoted(error) => Some(LeaveReason::Demoted),
        () if was_closed(error) => Some(LeaveReason::Closed),
        () => None,
    }
}

/// A connection to whatever server answers, for who examines it.
pub(crate) async fn connect_to_anyone(config: &RedisConfig) -> Result<MultiplexedConnection, InspectError> {
    let (client, settings) = (config.client()?, connection_config(config, config.response_timeout));
    match timeout(config.connect_timeout, client.get_multiplexed_async_connection_with_config(&settings)).await {
        Ok(connected) => Ok(connected.map_err(|error| redis_error(&error))?),
        Err(_) => Err(unavailable(StoreCause::ConnectTimeout).into()),
    }
}

pub(super) fn connection_config(config: &RedisConfig, response_timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(response_timeout))
}
