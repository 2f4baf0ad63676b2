//! Sentinels and clusters lose a primary, and keep what was written.

use std::path::PathBuf;

use crate::harness::cluster::{Cluster, PRIMARIES};
use crate::harness::redis::{Redis, RedisOptions};
use crate::harness::sentinels::Sentinels;
use crate::harness::{Failure, Result, tools};

const KEY: &str = "{a}key";

/// Writes a key and waits until every replica has it.
async fn write(server: &Redis, replicas: usize) -> Result<()> {
    let mut connection = server.connection().await?;
    let () = redis::cmd("SET").arg(KEY).arg("written").query_async(&mut connection).await?;
    let have: usize = redis::cmd("WAIT").arg(replicas).arg(10_000).query_async(&mut connection).await?;
    assert_eq!(have, replicas);
    Ok(())
}

async fn read(server: &Redis) -> Result<String> {
    let mut connection = server.connection().await?;
    Ok(redis::cmd("GET").arg(KEY).query_async(&mut connection).await?)
}

#[tokio::test]
async fn sentinels_put_a_replica_in_the_place_of_a_primary_that_is_killed() -> Result<()> {
    let mut redis = Sentinels::start().await?;
    let first = redis.primary().await.ok_or_else(|| Failure::new("no primary"))?;
    write(&redis.servers()[first], 2).await?;

    assert_ne!(redis.kill_primary().await?, first);
    redis.heal(first).await?;
    let second = redis.primary().await.ok_or_else(|| Failure::new("no primary"))?;
    let third = redis.failover().await?;

    assert_ne!(third, second);
    assert_eq!(read(&redis.servers()[third]).await?, "written");
    Ok(())
}

#[tokio::test]
async fn servers_with_a_password_fail_over_too() -> Result<()> {
    let mut redis = Sentinels::with(&Redis::options().password("a secret of theirs").append_only()).await?;
    let first = redis.primary().await.ok_or_else(|| Failure::new("no primary"))?;
    write(&redis.servers()[first], 2).await?;

    let second = redis.failover().await?;

    assert_eq!(read(&redis.servers()[second]).await?, "written");
    Ok(())
}

async fn a_cluster_fails_over_and_moves_slots(options: &RedisOptions) -> Result<()> {
    let mut redis = Cluster::with(options).await?;
    assert_eq!(redis.primaries().await?.len(), PRIMARIES);
    let first = redis.primary_of(KEY).await?;
    write(&redis.servers()[first], 1).await?;

    let second = redis.kill(first).await?;
    redis.heal(first).await?;
    let third = redis.failover(second).await?;
    redis.settled().await?;

    assert_eq!(
        (third, redis.primary_of(KEY).await?),
        (first, first),
        "its only replica takes its place, and gives it back"
    );
    assert_eq!(read(&redis.servers()[third]).await?, "written");

    let others = redis.primaries().await?;
    let other = others.into_iter().find(|node| *node != third).ok_or_else(|| Failure::new("no other primary"))?;
    let (had, all) = (redis.slots(other).await?, redis.slots(third).await?);
    redis.reshard(third, other, all - 1).await?;

    assert_eq!(redis.slots(other).await?, had + all - 1);
    assert_eq!(redis.primary_of(KEY).await?, other);
    assert_eq!(read(&redis.servers()[other]).await?, "written");
    Ok(())
}

#[tokio::test]
async fn a_cluster_of_redis_fails_over_and_moves_slots() -> Result<()> {
    a_cluster_fails_over_and_moves_slots(&Redis::options().password("a secret of theirs")).await
}

#[tokio::test]
async fn a_cluster_of_valkey_fails_over_and_moves_slots() -> Result<()> {
    a_cluster_fails_over_and_moves_slots(&Redis::options().server(valkey()?)).await
}

fn valkey() -> Result<PathBuf> {
    tools::tool("valkey-server")
}
