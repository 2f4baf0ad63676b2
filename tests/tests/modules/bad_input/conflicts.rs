//! One job id, registered more than once.

use serde_json::json;
use tokenvault_tests::harness::Result;

use crate::bad_input::stage::{assert_check, assert_problem, new_job, proof, stage, with};

#[tokio::test]
async fn the_same_registration_again_finds_the_job_and_leaves_its_pair_alone() -> Result<()> {
    let stage = stage().await?;
    let (job, client, alice) = (new_job(), stage.client("mod-di")?, stage.realm.login("alice").await?);
    client.register(&job, &alice).await?.expect_status(201)?;
    let token = client.get(&job).await?.expect_status(200)?;
    let before = stage.record(&job).await?;

    client.register(&job, &alice).await?.expect_status(200)?;
    let named = json!({ "access_token": "worn out", "user_id": alice.claim("user_id") });
    client.put(&job, &named).await?.expect_status(200)?;

    assert_eq!(stage.record(&job).await?, before);
    assert_eq!(client.get(&job).await?.access_token(), token.access_token());
    Ok(())
}

#[tokio::test]
async fn a_live_job_is_not_given_to_another_user_or_registrar() -> Result<()> {
    let stage = stage().await?;
    let (job, client, alice) = (new_job(), stage.client("mod-di")?, stage.realm.login("alice").await?);
    client.put(&job, &with(proof(&alice), "readers", vec!["mod-second"])).await?.expect_status(201)?;
    let before = stage.record(&job).await?;
    let bob = stage.realm.login("bob").await?;

    assert_problem(&client.register(&job, &bob).await?, 409, "job_conflict");
    let claimed = with(proof(&bob), "user_id", alice.claim("user_id"));
    assert_check(&client.put(&job, &claimed).await?, "user_id_mismatch");
    let mistaken = with(proof(&alice), "user_id", bob.claim("user_id"));
    assert_check(&client.put(&job, &mistaken).await?, "user_id_mismatch");
    assert_problem(&stage.client("mod-second")?.register(&job, &alice).await?, 409, "job_conflict");
    assert_problem(&stage.client("mod-second")?.register(&job, &bob).await?, 409, "job_conflict");
    assert_check(&client.put(&job, &json!({ "access_token": "of nobody" })).await?, "malformed");
    let loosened = with(proof(&alice), "on_logout", "continue");
    assert_problem(&client.put(&job, &loosened).await?, 422, "unsupported");

    assert_eq!(stage.record(&job).await?, before);
    assert_eq!(client.get(&job).await?.expect_status(200)?.body["user_id"], alice.claim("user_id"));
    Ok(())
}

#[tokio::test]
async fn an_ended_jobs_id_is_not_used_again() -> Result<()> {
    let stage = stage().await?;
    let (job, client, alice) = (new_job(), stage.client("mod-di")?, stage.realm.login("alice").await?);
    client.register(&job, &alice).await?.expect_status(201)?;
    client.delete(&job).await?.expect_status(204)?;
    let tombstone = stage.record(&job).await?;

    let again = client.register(&job, &alice).await?;
    assert_problem(&again, 409, "job_ended");
    assert_eq!(again.body["reason"], "released");
    let read = client.get(&job).await?;
    assert_problem(&read, 410, "job_ended");
    assert_eq!(read.body["reason"], "released");
    assert_problem(&stage.client("mod-second")?.register(&job, &alice).await?, 409, "job_conflict");
    assert_problem(&stage.client("mod-second")?.get(&job).await?, 404, "job_not_found");
    client.delete(&job).await?.expect_status(204)?;

    assert_eq!(stage.record(&job).await?, tombstone);
    Ok(())
}

#[tokio::test]
async fn of_many_registrations_at_once_one_makes_the_job() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    let (alice, bob) = (stage.realm.login("alice").await?, stage.realm.login("bob").await?);
    let calls = (0..8).map(|number| client.register(&job, if number % 2 == 0 { &alice } else { &bob }));
    let answers = futures::future::try_join_all(calls).await?;

    let mut made = 0;
    for answer in answers {
        match answer.status.as_u16() {
            201 => made += 1,
            200 => {}
            _ => assert_problem(&answer, 409, "job_conflict"),
        }
    }
    assert_eq!(made, 1);
    client.get(&job).await?.expect_status(200)?;
    Ok(())
}
