//! Pairs that cannot be adopted.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::LOGIN_APP;

use crate::bad_input::stage::{assert_check, assert_problem, new_job, proof, stage, with};

#[tokio::test]
async fn a_refresh_token_that_does_not_go_with_the_proof_is_refused() -> Result<()> {
    let stage = stage().await?;
    let (client, alice) = (stage.client("mod-all")?, stage.realm.login("alice").await?);
    let (bob, elsewhere) = (stage.realm.login("bob").await?, stage.realm.login("alice").await?);
    for (refresh, check) in [
        (bob.refresh(), "refresh_token_mismatch"),
        (elsewhere.refresh(), "refresh_token_mismatch"),
        ("garbage", "refresh_token_malformed"),
        ("a.b.c", "refresh_token_malformed"),
        ("", "refresh_token_malformed"),
    ] {
        let job = new_job();
        let answer = client.put(&job, &with(proof(&alice), "refresh_token", refresh)).await?;
        assert_check(&answer, check);
        stage.assert_untouched(&job).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_spent_refresh_token_is_refused_and_never_sent() -> Result<()> {
    let stage = stage().await?;
    let (job, client, alice) = (new_job(), stage.client("mod-all")?, stage.realm.login("alice").await?);
    let next = stage.realm.refresh(LOGIN_APP, alice.refresh()).await?;

    let answer = client.put(&job, &with(proof(&alice), "refresh_token", alice.refresh())).await?;

    assert_check(&answer, "refresh_token_not_active");
    stage.assert_no_record(&job).await?;
    stage.realm.refresh(LOGIN_APP, next.refresh()).await?;
    Ok(())
}

#[tokio::test]
async fn an_access_token_deposited_as_refresh_token_is_refused() -> Result<()> {
    let stage = stage().await?;
    let (job, client, alice) = (new_job(), stage.client("mod-all")?, stage.realm.login("alice").await?);

    let answer = client.put(&job, &with(proof(&alice), "refresh_token", alice.access_token.as_str())).await?;

    assert_eq!(answer.status, 422, "{answer:?}");
    assert_problem(&answer, 422, "token_rejected");
    stage.assert_no_record(&job).await
}

#[tokio::test]
async fn a_client_without_configured_credentials_cannot_be_adopted() -> Result<()> {
    let stage = stage().await?;
    let (job, tokens) = (new_job(), stage.other.login("alice").await?);
    let client = stage.client("mod-many")?.for_tenant(stage.other.name())?;
    let body = json!({
        "access_token": tokens.access_token, "refresh_token": tokens.refresh_token, "acquisition": "adopt",
    });
    assert_problem(&client.put(&job, &body).await?, 422, "unsupported");
    stage.assert_untouched(&job).await
}
