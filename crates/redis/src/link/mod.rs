//! The connections: a pool for writes and claims, one shared connection for reads.
//!
//! A connection is thrown away as soon as it was closed or kept a command waiting too long, so that no later command
//! finds it. Where a connection turns out to have been closed (a restarted server closes all that were idle), a command
//! that is safe to repeat is sent once more on a new one. Nothing is sent again after a time-out: the caller decides. But a
//! time-out of one is the end of all that were made before it ([`Eras`]), and so is a server that takes no writes any more
//! ([`call`]).

mod call;
mod era;
mod name;
mod reads;
mod writes;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisError};
use tokenvault_core::ports::StoreError;
use tokio::time::timeout;

pub(crate) use call::Call;
pub(crate) use era::Eras;
pub use era::OnLeft;
pub(crate) use name::follow_name;
pub(crate) use reads::Reads;
pub(crate) use writes::{Acks, Repeat, Writes};

use crate::config::RedisConfig;
use crate::error::{report, unavailable, was_closed};

/// Why the other connections are not to be believed either, if that is what an error means.
fn what_it_means(error: &RedisError) -> Option<era::Cause> {
    match () {
        () if error.is_timeout() => Some(era::Cause::Silent),
        () if call::demoted(error) => Some(era::Cause::Demoted),
        () if was_closed(error) => Some(era::Cause::Closed),
        () => None,
    }
}

/// A connection to whatever server answers, for who examines it.
pub(crate) async fn connect_to_anyone(config: &RedisConfig) -> Result<MultiplexedConnection, StoreError> {
    let (client, settings) = (config.client()?, connection_config(config, config.response_timeout));
    match timeout(config.connect_timeout, client.get_multiplexed_async_connection_with_config(&settings)).await {
        Ok(connected) => connected.map_err(|error| unavailable(&error)),
        Err(_) => Err(report("connect_timeout")),
    }
}

fn connection_config(config: &RedisConfig, response_timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(config.connect_timeout))
        .set_response_timeout(Some(response_timeout))
}
