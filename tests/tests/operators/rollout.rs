//! A rolling restart behind a balancer drops no call.

use std::time::Duration;

use tokenvault_tests::harness::Result;
use tokenvault_tests::rollout::{Options, run};

#[tokio::test]
async fn a_rolling_restart_behind_a_balancer_that_lags_drops_no_call() -> Result<()> {
    let options = Options { replicas: 3, rounds: 2, loops: 4, kept: 1, lag: Duration::from_secs(1), delay: 3 };
    let report = run(&options).await?;
    assert!(report.kept, "{report:?}");
    Ok(())
}
