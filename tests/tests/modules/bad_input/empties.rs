//! What is empty takes away, what is absent or null leaves as it is, and nobody takes the one for the other.

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;

use crate::bad_input::stage::{assert_problem, new_job, proof, stage, with};

#[tokio::test]
async fn an_empty_list_of_readers_withdraws_all_and_null_or_nothing_leaves_them() -> Result<()> {
    let stage = stage().await?;
    let (job, client, second) = (new_job(), stage.client("mod-di")?, stage.client("mod-second")?);
    let alice = proof(&stage.realm.login("alice").await?);
    client.put(&job, &with(alice.clone(), "readers", vec!["mod-second"])).await?.expect_status(201)?;
    let child = new_job();
    let of_parent = json!({ "parent_job_id": job, "readers": ["mod-second"] });
    client.put(&child, &of_parent).await?.expect_status(201)?;

    let before = stage.record(&job).await?;
    for body in [
        alice.clone(),
        with(alice.clone(), "readers", Value::Null),
        with(alice.clone(), "expires_at", Value::Null),
        with(alice.clone(), "on_logout", Value::Null),
        with(alice.clone(), "acquisition", Value::Null),
        with(alice.clone(), "user_id", Value::Null),
        with(alice.clone(), "refresh_token", Value::Null),
        with(alice.clone(), "parent_job_id", Value::Null),
    ] {
        let answer = client.put(&job, &body).await?.expect_status(200)?;
        assert_eq!(answer.body["readers"], json!(["mod-second"]), "{answer:?}");
        assert_eq!(stage.record(&job).await?, before);
    }
    for id in [&job, &child] {
        second.get(id).await?.expect_status(200)?;
    }

    // A child's list is its own, and nobody reads through it what the parent's no longer allows.
    let answer = client.put(&child, &with(of_parent.clone(), "readers", json!([]))).await?.expect_status(200)?;
    assert_eq!(answer.body["readers"], json!([]));
    assert_problem(&second.get(&child).await?, 404, "job_not_found");
    client.put(&child, &of_parent).await?.expect_status(200)?;
    second.get(&child).await?.expect_status(200)?;
    let answer = client.put(&job, &with(alice.clone(), "readers", json!([]))).await?.expect_status(200)?;
    assert_eq!(answer.body["readers"], json!([]));
    for id in [&job, &child] {
        assert_problem(&second.get(id).await?, 404, "job_not_found");
        client.get(id).await?.expect_status(200)?;
    }
    let user = answer.body["user_id"].as_str().unwrap_or_default();
    let listed =
        second.call(reqwest::Method::GET, &format!("/tokens?user_id={user}"), None).await?.expect_status(200)?;
    assert!(!listed.body["jobs"].to_string().contains(&job), "{listed:?}");

    // What is stored is an empty list, which every version reads as one, and it stays so.
    assert_eq!(client.put(&job, &alice).await?.expect_status(200)?.body["readers"], json!([]));
    assert_problem(&second.get(&job).await?, 404, "job_not_found");
    Ok(())
}

#[tokio::test]
async fn a_first_registration_with_an_empty_list_is_for_the_registrar_alone() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    let alice = proof(&stage.realm.login("alice").await?);
    client.put(&job, &with(alice, "readers", json!([]))).await?.expect_status(201)?;
    client.get(&job).await?.expect_status(200)?;
    assert_problem(&stage.client("mod-second")?.get(&job).await?, 404, "job_not_found");
    Ok(())
}

#[tokio::test]
async fn an_empty_parameter_is_no_missing_one() -> Result<()> {
    let stage = stage().await?;
    let client = stage.client("mod-di")?;
    let job = new_job();
    client.put(&job, &proof(&stage.realm.login("alice").await?)).await?.expect_status(201)?;
    for path in [
        "/tokens?user_id=".to_owned(),
        "/tokens?user_id=x&limit=".to_owned(),
        "/tokens?user_id=x&after=".to_owned(),
        format!("/tokens/{job}?min_ttl="),
        format!("/tokens/{job}?wait="),
    ] {
        let answer = client.call(reqwest::Method::GET, &path, None).await?;
        assert_problem(&answer, 400, "invalid_request");
    }
    let answer = client.with_header("x-okapi-tenant", "")?.get(&job).await?;
    assert_problem(&answer, 403, "tenant_denied");
    Ok(())
}
