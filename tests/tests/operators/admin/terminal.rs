//! What people are shown on a terminal, and asked there.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::SOON;

use crate::admin::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn what_touches_many_is_done_after_a_yes_and_not_after_anything_else() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let (tenant, proof) = (stage.realm.name().to_owned(), stage.login("alice").await?);
    for job in ["one", "two"] {
        stage.register(job, &proof, json!({})).await?;
    }
    let revoke = ["jobs", "revoke", &tenant, "one", "two"];

    for answer in ["no", "N", ""] {
        let mut terminal = stage.admin_on_a_terminal(&revoke)?;
        terminal.wait_for(&format!("Revoke 2 jobs of {tenant}? [yes/no] "), SOON).await?;
        terminal.enter(answer)?;
        let (status, shown) = terminal.end(SOON).await?;
        assert!(status.code() == Some(1) && shown.contains("nothing was done"), "{answer:?}: {status} {shown}");
        for job in ["one", "two"] {
            assert_eq!(stage.job(job)?["state"], "active", "{answer:?}");
        }
    }

    let mut terminal = stage.admin_on_a_terminal(&revoke)?;
    terminal.wait_for("[yes/no] ", SOON).await?;
    terminal.enter("well")?;
    terminal.wait_for("Answer yes or no.", SOON).await?;
    terminal.enter("y")?;
    let (status, shown) = terminal.end(SOON).await?;
    assert!(status.success(), "{shown}");
    for job in ["one", "two"] {
        assert_eq!(stage.job(job)?["state"], "ended");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_a_resealing_is_drawn() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let proof = stage.login("alice").await?;
    stage.register("job", &proof, json!({})).await?;

    let mut terminal = stage.admin_on_a_terminal(&["reseal", "--wait"])?;
    terminal.wait_for("Seal about 1 record anew? [yes/no] ", SOON).await?;
    terminal.enter("yes")?;
    let (status, shown) = terminal.end(SOON).await?;

    assert!(status.success(), "{shown}");
    assert!(shown.contains("/1 records, "), "{shown}");
    Ok(())
}
