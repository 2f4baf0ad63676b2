//! Both stores under one contract: by its rules, and by histories nobody thought of.

use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokenvault_tests::harness::{Failure, Result};
use tokenvault_tests::store_contract::bench::Bench;
use tokenvault_tests::store_contract::history::{a_move, agree};

macro_rules! rules {
    ($($module:ident::$rule:ident,)+) => {
        mod memory {
            use tokenvault_tests::harness::Result;
            use tokenvault_tests::store_contract::{self, bench::Bench};
            $(#[tokio::test]
            async fn $rule() -> Result<()> {
                store_contract::$module::$rule(&Bench::memory()).await
            })+
        }
        mod redis_store {
            use tokenvault_tests::harness::Result;
            use tokenvault_tests::store_contract::{self, bench::Bench};
            $(#[tokio::test]
            async fn $rule() -> Result<()> {
                store_contract::$module::$rule(&Bench::redis().await?).await
            })+
        }
    };
}

tokenvault_tests::for_each_store_rule!(rules);

#[test]
fn any_history_is_answered_alike_by_both_stores() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let on_redis = runtime.block_on(Bench::redis())?;
    let server = on_redis.redis.as_ref().expect("it is on Redis");
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });

    let verdict = runner.run(&proptest::collection::vec(a_move(), 1..120), |moves| {
        runtime.block_on(async {
            let outcome: Result<()> = async {
                redis::cmd("FLUSHALL").query_async::<()>(&mut server.connection().await?).await?;
                agree(&*Bench::memory().store, &*on_redis.store, &moves).await
            }
            .await;
            outcome.map_err(|failure| TestCaseError::fail(failure.to_string()))
        })
    });

    verdict.map_err(|failure| Failure::new(failure.to_string()))
}
