//! The store: how Redis is reached, and what is counted of it.

use std::sync::Arc;

use tokenvault_core::ports::{Clock, Fleet, TokenStore};
use tokenvault_redis::{ClusterConfig, InvalidRedisConfig, RedisConfig, RedisStore, SentinelConfig, ServerAddress};
use tokenvault_vault::repeats::Repeats;

use crate::config::RedisSection;
use crate::telemetry::measured_store::MeasuredStore;
use crate::telemetry::metrics::{Backend, Metrics};

/// How to connect to Redis. Addresses that cannot be read were refused with the configuration.
pub fn redis(redis: &RedisSection) -> RedisConfig {
    let addresses = |nodes: &[String]| nodes.iter().filter_map(|node| ServerAddress::parse(node)).collect();
    RedisConfig {
        url: redis.url.clone(),
        sentinel: redis.sentinel.as_ref().map(|sentinel| SentinelConfig {
            master: sentinel.master.clone(),
            nodes: addresses(&sentinel.nodes),
            database: sentinel.database,
            tls: sentinel.tls,
            username: sentinel.username.clone(),
            password_file: sentinel.password_file.clone(),
        }),
        cluster: redis
            .cluster
            .as_ref()
            .map(|cluster| ClusterConfig { nodes: addresses(&cluster.nodes), tls: cluster.tls }),
        username: redis.username.clone(),
        password: None,
        password_file: redis.password_file.clone(),
        ca_file: redis.ca_file.clone(),
        identity: redis.cert_file.clone().zip(redis.key_file.clone()),
        pool_size: redis.pool_size,
        connect_timeout: redis.connect_timeout,
        response_timeout: redis.response_timeout,
        ack_replicas: redis.ack_replicas,
        ack_timeout: redis.ack_timeout,
    }
}

/// Connects nothing yet; from then on the metrics tell how the connections fare.
pub(super) fn connect(
    config: &RedisConfig,
    metrics: &Arc<Metrics>,
    clock: &Arc<dyn Clock>,
) -> Result<RedisStore, InvalidRedisConfig> {
    let (unreadable, short, left) = (Arc::clone(metrics), Arc::clone(metrics), Arc::clone(metrics));
    let store =
        RedisStore::connect_telling(config, Some(Arc::new(move || left.parts.connections_left(Backend::Redis))))?;
    let store = store.following_its_servers().telling(Arc::new(move |why| unreadable.parts.unreadable(why)));
    let (clock, said) = (Arc::clone(clock), Repeats::default());
    Ok(store.on_short_ack(move || {
        short.parts.short_ack();
        if let Some(before) = said.happened((), clock.now()) {
            tracing::warn!(
                before,
                "a write was acknowledged by fewer replicas of Redis than `redis.ack_replicas` asks for"
            );
        }
    }))
}

/// A store by its two ports, its operations measured.
pub(super) fn measured<S>(store: S, metrics: &Arc<Metrics>) -> (Arc<dyn TokenStore>, Arc<dyn Fleet>)
where
    S: TokenStore + Fleet + 'static,
{
    let store = Arc::new(store);
    let measured = MeasuredStore::around(Arc::clone(&store) as Arc<dyn TokenStore>, Arc::clone(metrics));
    (Arc::new(measured), store)
}
