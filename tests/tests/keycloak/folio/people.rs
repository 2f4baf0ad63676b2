//! What users do meanwhile: they log out, they are renamed, they are away when the parts of their import begin.

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::realm::claims;

use crate::folio::stage::{READER, Shape, ended, generation, live_claims, stage, unique, working_token};
use crate::folio::with_both_shapes;

with_both_shapes! {
    a_logout_ends_jobs_in_the_users_session_and_no_others
    a_rename_changes_nothing
    children_start_hours_later_without_a_token
}

async fn a_logout_ends_jobs_in_the_users_session_and_no_others(shape: Shape) -> Result<()> {
    let stage = stage().await?;
    let (realm, client) = (stage.realm(shape), stage.registrar(shape)?);
    let user = stage.user(shape).await?;
    let proof = realm.login(&user).await?;
    let exchanged = stage.job(shape, &proof, json!({})).await?;
    let goes_on = json!({ "acquisition": "impersonate", "on_logout": "continue" });
    let goes_on = stage.job(shape, &proof, goes_on).await?;
    let ends = stage.job(shape, &proof, json!({ "acquisition": "impersonate", "on_logout": "revoke" })).await?;
    generation(&client, &goes_on, 2).await?;

    realm.logout_ui(&proof).await?;

    for job in [&exchanged, &ends] {
        assert_eq!(ended(&client, job).await?.code(), "session_ended");
    }
    let now =
        client.get_with(&goes_on, "wait=20").await?.expect_status(200)?.body["generation"].as_u64().unwrap_or_default();
    generation(&client, &goes_on, now + 2).await?;
    working_token(realm, &client, &goes_on).await?;
    stage.release(shape, &[&goes_on]).await
}

async fn a_rename_changes_nothing(shape: Shape) -> Result<()> {
    let stage = stage().await?;
    let (realm, client) = (stage.realm(shape), stage.registrar(shape)?);
    let user = stage.user(shape).await?;
    let proof = realm.login(&user).await?;
    let deposit = realm.login(&user).await?;
    let adopted = json!({ "acquisition": "adopt", "refresh_token": deposit.refresh() });
    let jobs = [
        stage.job(shape, &proof, json!({})).await?,
        stage.job(shape, &proof, json!({ "acquisition": "impersonate", "on_logout": "continue" })).await?,
        stage.job(shape, &proof, json!({ "acquisition": "impersonate", "on_logout": "revoke" })).await?,
    ];
    let adopted = stage.job(shape, &deposit, adopted).await?;

    // No name is too odd for FOLIO.
    let name = format!("jörg müller {}", unique("renamed"));
    realm.rename_own(&proof, &name).await?;

    for job in &jobs {
        let now = client.get_with(job, "wait=20").await?.expect_status(200)?;
        generation(&client, job, now.body["generation"].as_u64().unwrap_or_default() + 2).await?;
        let seen = live_claims(&client, job).await?;
        assert_eq!((&seen["user_id"], &seen["keycloak_user_id"]), (&json!(user.user_id), &json!(user.sub)));
    }
    // The UI's token lives 10 minutes; whoever asks for nearly as much has it renewed.
    let seen = poll("the adopted pair's next token", SOON, || async {
        let read = client.get_with(&adopted, "min_ttl=595&wait=30").await.ok()?.expect_status(200).ok()?;
        Some(claims(read.access_token())).filter(|seen| seen["sub"] == json!(name))
    })
    .await?;
    assert_eq!(seen["user_id"], json!(user.user_id));
    // And a proof from before the rename still registers jobs of the same user.
    let job = stage.job(shape, &proof, json!({ "acquisition": "impersonate" })).await?;
    assert_eq!(live_claims(&client, &job).await?["keycloak_user_id"], json!(user.sub));
    // So does one that carries the new name.
    let proof = realm.login_named(&user, &name).await?;
    assert_eq!(proof.claims()["sub"], json!(name));
    let latest = [
        stage.job(shape, &proof, json!({})).await?,
        stage.job(shape, &proof, json!({ "acquisition": "impersonate" })).await?,
        stage.job(shape, &proof, json!({ "acquisition": "adopt", "refresh_token": proof.refresh() })).await?,
    ];
    for job in &latest {
        assert_eq!(live_claims(&client, job).await?["user_id"], json!(user.user_id));
    }
    let all: Vec<&str> = jobs.iter().chain(&latest).chain([&adopted, &job]).map(String::as_str).collect();
    stage.release(shape, &all).await
}

async fn children_start_hours_later_without_a_token(shape: Shape) -> Result<()> {
    let stage = stage().await?;
    let (realm, client) = (stage.realm(shape), stage.registrar(shape)?);
    let user = stage.user(shape).await?;
    let proof = realm.login(&user).await?;
    let terms = json!({ "acquisition": "impersonate", "on_logout": "continue", "readers": [READER] });
    let parent = stage.job(shape, &proof, terms).await?;
    // Whatever the user had has ended, as it has when a queue comes to the last part of an import.
    realm.logout_ui(&proof).await?;
    assert!(realm.refresh(realm.login_client(), proof.refresh()).await.is_err());
    let now =
        client.get_with(&parent, "wait=20").await?.expect_status(200)?.body["generation"].as_u64().unwrap_or_default();
    generation(&client, &parent, now + 2).await?;

    let part = unique("part");
    let answer =
        client.put(&part, &json!({ "parent_job_id": parent, "readers": [READER] })).await?.expect_status(201)?;

    assert_eq!(answer.body["user_id"], json!(user.user_id));
    assert_eq!(live_claims(&stage.reader(shape)?, &part).await?["keycloak_user_id"], json!(user.sub));
    let refused = stage.reader(shape)?.put(&unique("part"), &json!({ "parent_job_id": parent })).await?;
    assert_eq!(refused.expect_status(403)?.code(), "action_denied", "who only reads registers nothing");
    client.delete(&parent).await?.expect_status(204)?;
    assert_eq!(ended(&client, &part).await?.code(), "job_ended", "the parent's end is its children's");
    Ok(())
}
