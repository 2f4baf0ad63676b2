//! The spike's environments by name: what happened there, and what happens with the vault.

use std::time::Duration;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::stage::{READER, Stage, check_live, repeat};

const AT_TTL: u64 = 6;
const RECORD: Duration = Duration::from_millis(200);

/// Eureka, access token 3 minutes (here seconds): records that begin after that fail with 401.
#[tokio::test(flavor = "multi_thread")]
async fn eureka_without_the_vault_an_import_dies_at_its_tokens_end() -> Result<()> {
    let stage = Stage::set(AT_TTL, 1).await?;
    let ui = stage.login().await?;
    stage.registered("import", &ui, json!({})).await?;
    let reader = stage.reader(0)?;
    let mut plain = Vec::new();
    while plain.iter().filter(|status| **status == 401).count() <= 5 && plain.len() < 200 {
        plain.push(stage.save_record(&ui.access_token).await?);
        let live = reader.get("import").await?.expect_status(200)?;
        assert_eq!(stage.save_record(live.access_token()).await?, 200, "through the vault no record fails");
        tokio::time::sleep(RECORD).await;
    }
    let first_failure = plain.iter().position(|status| *status == 401).unwrap_or(plain.len());
    assert!(first_failure > 0 && plain[..first_failure].iter().all(|status| *status == 200));
    assert!(plain[first_failure..].len() > 5 && plain[first_failure..].iter().all(|status| *status == 401));
    Ok(())
}

/// Q: the UI refreshes only when it makes a request. It is idle here, and so is the vault's timer: only reads renew.
#[tokio::test(flavor = "multi_thread")]
async fn q_an_idle_ui_does_not_hurt_a_job_that_is_renewed_by_requests_alone() -> Result<()> {
    // Renewal on the timer would come at 90 % of the life; every read asks for more than what is left by then.
    let keys = [("renewal.fraction", 0.9.into()), ("renewal.jitter", 0.0.into())];
    let stage = Stage::with(12, 1, &keys).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let ui = stage.login().await?;
    stage.registered("import", &ui, json!({})).await?;
    let reader = stage.reader(0)?;
    for generation in 2..=5 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let answer = reader.get_with("import", "min_ttl=8&wait=5").await?;
        check_live(&answer, &user)?;
        assert_eq!(answer.body["generation"], generation, "each request found its token too short-lived");
    }
    stage.ui_refreshes(&ui).await?;
    Ok(())
}

/// R: the UI refreshes on a timer of its own, even while idle.
#[tokio::test(flavor = "multi_thread")]
async fn r_a_ui_that_refreshes_on_a_timer_and_a_job_do_not_disturb_each_other() -> Result<()> {
    let stage = Stage::set(AT_TTL, 1).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let mut ui = stage.login().await?;
    stage.registered("import", &ui, json!({})).await?;
    let reader = stage.reader(0)?;
    for _ in 0..8 {
        ui = stage.ui_refreshes(&ui).await?;
        assert_eq!(stage.save_record(&ui.access_token).await?, 200);
        repeat(Duration::from_millis(2_200), RECORD, || async { check_live(&reader.get("import").await?, &user) })
            .await?;
    }
    Ok(())
}

/// A UI logout in the middle: the import that was told to goes on, the other one is told why it ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_ui_logout_in_the_middle_of_an_import() -> Result<()> {
    let stage = Stage::set(AT_TTL, 1).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let ui = stage.login().await?;
    stage.registered("stays", &ui, json!({"acquisition": "impersonate"})).await?;
    stage.registered("ends", &ui, json!({})).await?;
    let reader = stage.reader(0)?;
    let read_both = async || -> Result<()> {
        check_live(&reader.get("stays").await?, &user)?;
        check_live(&reader.get("ends").await?, &user)
    };
    repeat(stage.at_ttl() * 2, RECORD, || async { read_both().await }).await?;
    stage.ui_logs_out(&ui).await?;
    repeat(stage.at_ttl() * 3, RECORD, || async { check_live(&reader.get("stays").await?, &user) }).await?;
    assert_eq!(reader.get("ends").await?.expect_status(410)?.code(), "session_ended");
    Ok(())
}

/// A module is killed and comes back with nothing but the job id and its certificate.
#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_killed_goes_on_from_the_job_id_alone() -> Result<()> {
    let stage = Stage::set(AT_TTL, 1).await?;
    let user = stage.realm.user("alice")?.user_id.clone();
    let ui = stage.login().await?;
    stage.registered("import", &ui, json!({})).await?;
    let module = stage.reader(0)?;
    check_live(&module.get("import").await?, &user)?;
    drop(module);
    tokio::time::sleep(stage.at_ttl() * 3).await;
    let reborn = stage.vault.client_of(READER, 0)?;
    let answer = reborn.get("import").await?;
    check_live(&answer, &user)?;
    assert_eq!(stage.save_record(answer.access_token()).await?, 200);
    Ok(())
}
