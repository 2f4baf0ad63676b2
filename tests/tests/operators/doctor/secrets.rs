//! Files with secrets that cannot be read: what needs no such file is examined all the same.

use std::fs;

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::redis::Redis;

use crate::doctor::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_missing_leaves_only_its_own_tenant_unchecked() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    stage.another_tenant("other", "none");

    let found = stage.examine(&[])?;

    assert_eq!(found.hazards(), ["secrets"], "{found}");
    assert_eq!(found.verdict("redis-persistence"), "fine", "{found}");
    let own = stage.tenant_name();
    for check in ["keycloak", "keycloak-client", "keycloak-exchange"] {
        assert_eq!(found.verdict_on(check, own), "fine", "{found}");
    }
    assert_eq!(found.verdict_on("keycloak", "other"), "not_checked", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_an_examination_does_not_need_hides_nothing() -> Result<()> {
    let mut stage = Stage::without_keycloak().await?;
    fs::remove_file(stage.file("keyring.toml"))?;
    let deposited = toml::Table::from_iter([("depositor".to_owned(), "none".into())]);
    stage.tenant("adopt_clients", deposited);

    let found = stage.examine(&[])?;

    assert_eq!(found.hazards(), ["secrets", "secrets"], "{found}");
    assert_eq!((found.verdict("redis"), found.verdict("keycloak-exchange")), ("fine", "fine"), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_of_redis_keycloak_is_examined() -> Result<()> {
    let mut stage = Stage::with_redis(Redis::options().append_only().password("right")).await?;
    stage.set("redis.password_file", "none");

    let found = stage.examine(&[])?;

    assert_eq!(found.hazards(), ["secrets"], "{found}");
    assert_eq!((found.verdict("redis"), found.verdict("keycloak-exchange")), ("not_checked", "fine"), "{found}");
    assert!(
        found.to_string().contains("nothing more was looked at: clock-redis"),
        "what was not looked at is told: {found}"
    );
    Ok(())
}
