//! What a known module may not do, and where.

use tokenvault_tests::harness::Result;

use crate::bad_input::stage::{AGED, assert_problem, new_job, proof, stage, with};

#[tokio::test]
async fn an_action_that_was_not_granted_is_denied() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    let (reader, mute) = (stage.client("mod-reader")?, stage.client("mod-mute")?);
    assert_problem(&reader.register(&job, &login).await?, 403, "action_denied");
    assert_problem(&reader.delete(&job).await?, 403, "action_denied");
    assert_problem(&reader.get(&job).await?, 404, "job_not_found");
    assert_problem(&mute.register(&job, &login).await?, 403, "action_denied");
    assert_problem(&mute.get(&job).await?, 403, "action_denied");
    assert_problem(&mute.delete(&job).await?, 403, "action_denied");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn an_acquisition_that_was_not_granted_is_denied() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    let client = stage.client("mod-di")?;
    let asked = with(proof(&login), "acquisition", "impersonate");
    assert_problem(&client.put(&job, &asked).await?, 403, "action_denied");
    let deposited = with(proof(&login), "refresh_token", login.refresh());
    assert_problem(&client.put(&job, &deposited).await?, 403, "action_denied");
    let asked = with(deposited, "acquisition", "adopt");
    assert_problem(&client.put(&job, &asked).await?, 403, "action_denied");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn an_acquisition_that_the_tenant_rules_out_is_refused_whoever_was_granted_it() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    let client = stage.client("mod-aged")?;
    let asked = with(proof(&login), "acquisition", "impersonate");
    assert_problem(&client.put(&job, &asked).await?, 422, "unsupported");
    let deposited = with(proof(&login), "refresh_token", login.refresh());
    assert_problem(&client.put(&job, &deposited).await?, 422, "unsupported");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn a_page_names_no_job_that_its_reader_may_not_see() -> Result<()> {
    let stage = stage().await?;
    let (first, second, login) = (new_job(), new_job(), stage.realm.login("alice").await?);
    let (owner, stranger) = (stage.client("mod-di")?, stage.client("mod-second")?);
    for job in [&first, &second] {
        owner.register(job, &login).await?.expect_status(201)?;
    }
    let page = format!("/tokens?user_id={}&limit=1", login.claim("user_id"));
    let page = stranger.call(reqwest::Method::GET, &page, None).await?.expect_status(200)?;
    assert_eq!(page.body, serde_json::json!({ "jobs": [] }));
    Ok(())
}

#[tokio::test]
async fn a_foreign_tenant_is_denied_whether_it_exists_or_not() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    for tenant in [stage.other.name(), AGED, "nowhere", "", "../x", "a b"] {
        let client = stage.client("mod-di")?.for_tenant(tenant)?;
        assert_problem(&client.register(&job, &login).await?, 403, "tenant_denied");
        assert_problem(&client.get(&job).await?, 403, "tenant_denied");
        assert_problem(&client.delete(&job).await?, 403, "tenant_denied");
    }
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn a_caller_of_several_tenants_must_name_one() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    let client = stage.client("mod-many")?;
    assert_problem(&client.register(&job, &login).await?, 400, "tenant_missing");
    assert_problem(&client.get(&job).await?, 400, "tenant_missing");
    assert_problem(&client.for_tenant("nowhere")?.get(&job).await?, 403, "tenant_denied");
    let request = client.http().get(format!("{}/tokens/{job}", client.base_url()));
    let twice = request.header("x-okapi-tenant", stage.realm.name()).header("x-okapi-tenant", stage.other.name());
    assert_eq!(twice.send().await?.status(), 400, "two tenants at once");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn a_tenant_does_not_see_the_other_ones_job() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    let client = stage.client("mod-many")?;
    client.for_tenant(stage.realm.name())?.register(&job, &login).await?.expect_status(201)?;
    let elsewhere = client.for_tenant(stage.other.name())?;
    assert_problem(&elsewhere.get(&job).await?, 404, "job_not_found");
    assert_problem(&elsewhere.delete(&job).await?, 404, "job_not_found");
    client.for_tenant(stage.realm.name())?.get(&job).await?.expect_status(200)?;
    Ok(())
}

#[tokio::test]
async fn a_stranger_cannot_tell_a_job_from_none() -> Result<()> {
    let stage = stage().await?;
    let (job, login) = (new_job(), stage.realm.login("alice").await?);
    stage.client("mod-di")?.register(&job, &login).await?.expect_status(201)?;
    let before = stage.record(&job).await?;
    let stranger = stage.client("mod-second")?;
    let there = stranger.get(&job).await?;
    let not_there = stranger.get(&new_job()).await?;
    assert_problem(&there, 404, "job_not_found");
    assert_eq!(there.body["detail"], not_there.body["detail"]);
    assert_problem(&stranger.delete(&job).await?, 404, "job_not_found");
    assert_eq!(stage.record(&job).await?, before);
    let jobs =
        stranger.call(reqwest::Method::GET, &format!("/tokens?user_id={}", login.claim("user_id")), None).await?;
    assert!(!jobs.expect_status(200)?.body.to_string().contains(&job));
    Ok(())
}
