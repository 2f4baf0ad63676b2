//! Paths, methods and query parameters that are not what the API describes; demands that nothing can fulfil.

use reqwest::Method;
use serde_json::json;
use tokenvault_tests::harness::Result;

use crate::bad_input::stage::{assert_problem, new_job, proof, stage, with};

#[tokio::test]
async fn a_job_id_that_is_none_is_refused_in_every_call() -> Result<()> {
    let stage = stage().await?;
    let client = stage.client("mod-di")?;
    let body = proof(&stage.realm.login("alice").await?);
    let long = "a".repeat(129);
    for id in [".hidden", "-x", "_x", "a:b", "a%2Fb", "a%20b", "%C3%A4", "%FF", "a%0Ab", "a%00", "a*", "%7Bx%7D", &long]
    {
        for (method, body) in [(Method::PUT, Some(&body)), (Method::GET, None), (Method::DELETE, None)] {
            let answer = client.call(method.clone(), &format!("/tokens/{id}"), body).await?;
            assert_eq!(answer.code(), "invalid_request", "{method} {id}: {answer:?}");
            assert_problem(&answer, 400, "invalid_request");
        }
    }
    let longest = "a".repeat(128);
    assert_problem(&client.get(&longest).await?, 404, "job_not_found");
    Ok(())
}

#[tokio::test]
async fn an_unknown_path_or_method_is_told_as_such() -> Result<()> {
    let stage = stage().await?;
    let client = stage.client("mod-di")?;
    for path in ["/", "/tokens/", "/token/x", "/tokens/x/y", "/metrics", "/healthz", "/admin/v1/status"] {
        assert_problem(&client.call(Method::GET, path, None).await?, 404, "not_found");
    }
    for method in [Method::POST, Method::PATCH, Method::OPTIONS, Method::TRACE] {
        let answer = client.call(method, "/tokens/x", None).await?;
        assert_problem(&answer, 405, "method_not_allowed");
        for allowed in ["GET", "PUT", "DELETE"] {
            assert!(answer.header("allow").contains(allowed), "{:?}", answer.headers);
        }
    }
    Ok(())
}

#[tokio::test]
async fn query_parameters_are_read_strictly() -> Result<()> {
    let stage = stage().await?;
    let client = stage.client("mod-di")?;
    for query in [
        "min_ttl=",
        "min_ttl=ten",
        "min_ttl=-1",
        "min_ttl=1.5",
        "min_ttl=%2B1",
        "min_ttl=99999999999999999999",
        "min_ttl=5&min_ttl=6",
        "wait=31",
        "wait=-1",
        "wait=x",
        "minttl=5",
        "MIN_TTL=5",
        "token=x",
    ] {
        let answer = client.get_with(&new_job(), query).await?;
        assert_eq!(answer.code(), "invalid_request", "{query}: {answer:?}");
        assert_problem(&answer, 400, "invalid_request");
    }
    for query in
        ["", "?user_id=", "?user_id=a%20b", "?user_id=u&limit=0", "?user_id=u&limit=201", "?user_id=u&after=a:b"]
    {
        let answer = client.call(Method::GET, &format!("/tokens{query}"), None).await?;
        assert_eq!(answer.code(), "invalid_request", "{query}: {answer:?}");
        assert_problem(&answer, 400, "invalid_request");
    }
    Ok(())
}

#[tokio::test]
async fn a_life_that_no_access_token_has_is_unsatisfiable_and_the_most_is_told() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    client.register(&job, &stage.realm.login("alice").await?).await?.expect_status(201)?;
    let before = stage.record(&job).await?;
    for min_ttl in [600, 100_000] {
        let answer = client.get_with(&job, &format!("min_ttl={min_ttl}")).await?;
        assert_problem(&answer, 422, "min_ttl_unsatisfiable");
        let most = answer.body["max_ttl"].as_u64().unwrap_or_default();
        assert!((590..600).contains(&most), "the realm's access tokens live 600 s: {most}");
    }
    assert_eq!(stage.record(&job).await?, before, "asking for too much changes nothing");
    client.get_with(&job, "min_ttl=500").await?.expect_status(200)?;
    Ok(())
}

#[tokio::test]
async fn an_end_too_late_or_in_the_past_is_refused() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    let good = proof(&stage.realm.login("alice").await?);
    let late = client.put(&job, &with(good.clone(), "expires_at", "2199-01-01T00:00:00Z")).await?;
    assert_problem(&late, 422, "expires_at_too_late");
    assert!(late.body["latest"].as_str().is_some_and(|latest| latest.ends_with('Z')), "{late:?}");
    for past in ["2020-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"] {
        assert_problem(&client.put(&job, &with(good.clone(), "expires_at", past)).await?, 400, "invalid_request");
    }
    stage.assert_untouched(&job).await?;

    client.put(&job, &good).await?.expect_status(201)?;
    let before = stage.record(&job).await?;
    let again = with(good, "expires_at", "2199-01-01T00:00:00Z");
    assert_problem(&client.put(&job, &again).await?, 422, "expires_at_too_late");
    assert_eq!(stage.record(&job).await?, before);
    Ok(())
}

#[tokio::test]
async fn a_job_of_the_users_session_cannot_outlive_the_logout() -> Result<()> {
    let stage = stage().await?;
    let job = new_job();
    let good = proof(&stage.realm.login("alice").await?);
    let outliving = with(good.clone(), "on_logout", "continue");
    assert_problem(&stage.client("mod-di")?.put(&job, &outliving).await?, 422, "unsupported");
    let tenant_forbids = with(outliving, "acquisition", "impersonate");
    assert_problem(&stage.client("mod-all")?.put(&job, &tenant_forbids).await?, 422, "unsupported");
    let mixed = json!({ "access_token": good["access_token"], "refresh_token": "x", "acquisition": "exchange" });
    assert_problem(&stage.client("mod-all")?.put(&job, &mixed).await?, 422, "unsupported");
    stage.assert_untouched(&job).await
}
