//! Redis, with settings that lose or expose what is in it.

use tokenvault_tests::harness::redis::Redis;
use tokenvault_tests::harness::{Result, ports};

use crate::doctor::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_away_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("redis.url", format!("redis://127.0.0.1:{}", ports::free()?));
    stage.expect_only("redis", "cannot be used", "redis.url")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_a_hazard() -> Result<()> {
    let mut stage = Stage::with_redis(Redis::options().append_only().password("right")).await?;
    assert!(stage.examine(&[])?.succeeded);
    stage.private("redis-password", "wrong")?;
    stage.set("redis.password_file", "redis-password");
    stage.expect_only("redis", "authentication", "redis.password_file")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_may_not_run_the_commands_is_a_hazard() -> Result<()> {
    let limited = "user limited on >of-the-limited ~tv:* +@connection";
    let mut stage = Stage::with_redis(Redis::options().append_only().line(limited)).await?;
    stage.private("redis-password", "of-the-limited")?;
    stage.set("redis.username", "limited");
    stage.set("redis.password_file", "redis-password");
    stage.expect_only("redis", "no_permission", "let the vault's ACL user run its commands")
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_cannot_be_used_are_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("redis.url", stage.redis.url().replace("redis://", "rediss://"));
    stage.set("redis.ca_file", "none.pem");
    stage.expect_only("redis", "config_ca_file", "correct the section [redis]")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_forgets_is_a_hazard() -> Result<()> {
    let stage = Stage::with_redis(Redis::options()).await?;
    stage.expect_only("redis-persistence", "nothing is written to disk", "appendonly yes")?;

    let mut connection = stage.redis.connection().await?;
    let _: () = redis::cmd("CONFIG").arg("SET").arg("save").arg("300 1").query_async(&mut connection).await?;
    stage.expect_only("redis-persistence", "only snapshots", "appendonly yes")?;

    let _: () = redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("yes").query_async(&mut connection).await?;
    let found = stage.examine(&[])?;
    assert!(found.succeeded, "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_is_a_hazard() -> Result<()> {
    let stage = Stage::with_redis(Redis::options().append_only().line("maxmemory-policy allkeys-lru")).await?;
    stage.expect_only("redis-eviction", "allkeys-lru (no maxmemory yet)", "maxmemory-policy noeviction")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_schema_is_a_hazard() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    let mut connection = stage.redis.connection().await?;
    for (schema, remedy) in [
        ("999", "run the version that wrote it"),
        ("nonsense", "run the version that wrote it"),
        ("0", "tokenvault migrate"),
    ] {
        let _: () = redis::cmd("SET").arg("tv:schema").arg(schema).query_async(&mut connection).await?;
        stage.expect_only("redis-schema", schema, remedy)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_a_hazard() -> Result<()> {
    let primary = Redis::options().append_only().start().await?;
    let stage = Stage::with_redis(Redis::options().append_only().replica_of(&primary)).await?;
    stage.expect_only("redis-role", "takes no writes", "name the primary")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_may_not_be_asked_for_its_role_is_a_hazard() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    let mut connection = stage.redis.connection().await?;
    let _: () = redis::cmd("ACL").arg(&["SETUSER", "default", "-role"]).query_async(&mut connection).await?;
    stage.expect_only("redis-role", "may not ask for the server's role", "+role")
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_in_plain_beyond_this_machine_is_a_hazard() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.set("redis.url", "redis://redis.invalid:6379");
    let found = stage.examine(&[])?;
    assert_eq!(found.hazards(), ["redis-tls", "redis"], "{found}");
    stage.set("redis.url", "rediss://redis.invalid:6379");
    let found = stage.examine(&[])?;
    assert_eq!(found.hazards(), ["redis"], "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_others_are_noted() -> Result<()> {
    let stage = Stage::without_keycloak().await?;
    let mut connection = stage.redis.connection().await?;
    let _: () = redis::cmd("SET").arg("cache:somebody").arg("1").query_async(&mut connection).await?;

    let found = stage.examine(&[])?;

    assert!(found.succeeded && found.verdict("redis-shared") == "note", "{found}");
    Ok(())
}
