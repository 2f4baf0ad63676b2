//! Children that may not be: under somebody else's parent, under a child, of another user, beyond the parent's end.

use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::realm::Tokens;

use crate::bad_input::stage::{Stage, assert_check, assert_problem, new_job, proof, stage, with};

async fn parent(stage: &Stage, alice: &Tokens, more: Value) -> Result<String> {
    let (job, mut body) = (new_job(), proof(alice));
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    stage.client("mod-di")?.put(&job, &body).await?.expect_status(201)?;
    Ok(job)
}

fn child_of(parent: &str, tokens: &Tokens) -> Value {
    with(proof(tokens), "parent_job_id", parent)
}

/// Tries to register a child and asserts that it is refused with this, and leaves no trace, nor a mark on its parent.
async fn assert_orphan(
    stage: &Stage,
    (client, parent): (&Client, &str),
    body: &Value,
    (status, code): (u16, &str),
) -> Result<tokenvault_tests::harness::client::Answer> {
    let (job, before) = (new_job(), stage.record(parent).await?);
    let answer = client.put(&job, body).await?;
    assert_problem(&answer, status, code);
    stage.assert_untouched(&job).await?;
    assert_eq!(stage.record(parent).await?, before);
    Ok(answer)
}

#[tokio::test]
async fn a_parent_must_exist_and_be_the_callers_to_share() -> Result<()> {
    let stage = stage().await?;
    let alice = stage.realm.login("alice").await?;
    let parent = parent(&stage, &alice, json!({})).await?;
    let (own, stranger) = (stage.client("mod-di")?, stage.client("mod-second")?);
    let missing = child_of(&new_job(), &alice);
    let theirs = child_of(&parent, &alice);
    let hidden = assert_orphan(&stage, (&stranger, &parent), &theirs, (404, "job_not_found")).await?;
    let absent = assert_orphan(&stage, (&own, &parent), &missing, (404, "job_not_found")).await?;
    assert_eq!(hidden.body["detail"], absent.body["detail"], "a stranger's job is not told from none");
    Ok(())
}

#[tokio::test]
async fn a_child_is_of_its_parents_user() -> Result<()> {
    let stage = stage().await?;
    let parent = parent(&stage, &stage.realm.login("alice").await?, json!({})).await?;
    let bob = stage.realm.login("bob").await?;
    let client = stage.client("mod-di")?;
    let body = child_of(&parent, &bob);
    let answer = assert_orphan(&stage, (&client, &parent), &body, (422, "token_rejected")).await?;
    assert_check(&answer, "parent_of_another_user");
    Ok(())
}

#[tokio::test]
async fn a_child_has_no_children() -> Result<()> {
    let stage = stage().await?;
    let alice = stage.realm.login("alice").await?;
    let parent = parent(&stage, &alice, json!({})).await?;
    let (client, child) = (stage.client("mod-di")?, new_job());
    client.put(&child, &child_of(&parent, &alice)).await?.expect_status(201)?;
    assert_orphan(&stage, (&client, &child), &child_of(&child, &alice), (422, "unsupported")).await?;
    Ok(())
}

#[tokio::test]
async fn a_child_stays_within_its_parents_end_and_readers() -> Result<()> {
    let stage = stage().await?;
    let alice = stage.realm.login("alice").await?;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10);
    let parent = parent(&stage, &alice, json!({ "expires_at": soon.to_string(), "readers": ["mod-reader"] })).await?;
    let client = stage.client("mod-di")?;
    let late = (soon + jiff::SignedDuration::from_mins(1)).to_string();
    let body = with(child_of(&parent, &alice), "expires_at", late);
    let answer = assert_orphan(&stage, (&client, &parent), &body, (422, "expires_at_too_late")).await?;
    assert!(answer.body["latest"].is_string(), "{answer:?}");
    let body = with(child_of(&parent, &alice), "readers", vec!["mod-reader", "mod-second"]);
    assert_orphan(&stage, (&client, &parent), &body, (403, "action_denied")).await?;
    let body = with(child_of(&parent, &alice), "acquisition", "exchange");
    assert_orphan(&stage, (&client, &parent), &body, (400, "invalid_request")).await?;
    Ok(())
}

#[tokio::test]
async fn a_child_that_stands_cannot_be_moved_beyond_its_parent() -> Result<()> {
    let stage = stage().await?;
    let alice = stage.realm.login("alice").await?;
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10);
    let parent = parent(&stage, &alice, json!({ "expires_at": soon.to_string() })).await?;
    let (client, child) = (stage.client("mod-di")?, new_job());
    client.put(&child, &child_of(&parent, &alice)).await?.expect_status(201)?;
    let before = stage.record(&child).await?;
    let late = (soon + jiff::SignedDuration::from_mins(1)).to_string();
    let answer = client.put(&child, &with(child_of(&parent, &alice), "expires_at", late)).await?;
    assert_problem(&answer, 422, "expires_at_too_late");
    let answer = client.put(&child, &with(child_of(&parent, &alice), "readers", vec!["mod-second"])).await?;
    assert_problem(&answer, 403, "action_denied");
    assert_eq!(stage.record(&child).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_released_parent_takes_no_children() -> Result<()> {
    let stage = stage().await?;
    let alice = stage.realm.login("alice").await?;
    let parent = parent(&stage, &alice, json!({})).await?;
    let client = stage.client("mod-di")?;
    client.delete(&parent).await?.expect_status(204)?;
    let body = child_of(&parent, &alice);
    let answer = assert_orphan(&stage, (&client, &parent), &body, (410, "job_ended")).await?;
    assert_eq!(answer.body["reason"], "released");
    Ok(())
}
