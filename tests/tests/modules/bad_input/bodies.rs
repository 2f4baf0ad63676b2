//! Bodies that are not what the API describes.

use std::fmt::Write as _;

use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::{Answer, Client};

use crate::bad_input::stage::{assert_check, assert_problem, new_job, proof, stage, with};

const JSON: &str = "application/json";
/// A value that must not come back in an answer.
const MARK: &str = "mark-4f1c9b7e";

async fn put_raw(client: &Client, job: &str, kind: Option<&str>, body: impl Into<reqwest::Body>) -> Result<Answer> {
    let mut request = client.http().put(format!("{}/tokens/{job}", client.base_url())).body(body);
    if let Some(kind) = kind {
        request = request.header("content-type", kind);
    }
    let answer = request.send().await?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    Ok(Answer { status, headers, body: serde_json::from_str(&answer.text().await?).unwrap_or_default() })
}

#[tokio::test]
async fn a_body_above_the_limit_is_too_large_and_one_at_the_limit_is_not() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    let of_length = |length: usize| {
        let frame = r#"{"access_token":""}"#.len();
        format!(r#"{{"access_token":"{}"}}"#, "x".repeat(length - frame))
    };
    assert_problem(&put_raw(&client, &job, Some(JSON), of_length(64 * 1024 + 1)).await?, 413, "content_too_large");
    assert_problem(&put_raw(&client, &job, Some(JSON), of_length(4 * 1024 * 1024)).await?, 413, "content_too_large");
    assert_check(&put_raw(&client, &job, Some(JSON), of_length(64 * 1024)).await?, "malformed");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn what_is_not_json_is_refused_and_not_repeated() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    let mut deep = String::new();
    for _ in 0..20_000 {
        let _ = write!(deep, "[");
    }
    let texts: Vec<Vec<u8>> = [
        String::new(),
        MARK.to_owned(),
        format!("access_token={MARK}"),
        format!(r#"{{"access_token":"{MARK}""#),
        format!(r#"{{"access_token":"{MARK}"}} {MARK}"#),
        format!("\u{feff}{{\"access_token\":\"{MARK}\"}}"),
        format!(r#"["{MARK}"]"#),
        format!(r#""{MARK}""#),
        "null".to_owned(),
        deep,
    ]
    .map(String::into_bytes)
    .into_iter()
    .chain([b"{\"access_token\":\"\xff\xfe\"}".to_vec(), b"\xff\xfe{\0}\0".to_vec()])
    .collect();
    for text in texts {
        let shown = String::from_utf8_lossy(&text[..text.len().min(60)]).into_owned();
        let answer = put_raw(&client, &job, Some(JSON), text).await?;
        assert_eq!(answer.code(), "invalid_request", "{shown}: {answer:?}");
        assert_problem(&answer, 400, "invalid_request");
        assert!(!answer.body.to_string().contains(MARK), "{shown}: {answer:?}");
    }
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn a_member_that_is_unknown_missing_or_of_another_form_is_refused_and_not_repeated() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-all")?);
    let good = proof(&stage.realm.login("alice").await?);
    let many: Vec<String> = (0..65).map(|number| format!("mod-{number}")).collect();
    for body in [
        json!({}),
        json!({ "access_token": "" }),
        json!({ "access_token": [MARK] }),
        json!({ "access_token": { MARK: MARK } }),
        json!({ "access_token": null, "user_id": MARK }),
        with(good.clone(), "unknown", MARK),
        with(good.clone(), "Access_Token", MARK),
        with(good.clone(), "user_id", 7),
        with(good.clone(), "user_id", format!("{MARK} with a space")),
        with(good.clone(), "user_id", ""),
        with(good.clone(), "acquisition", MARK),
        with(good.clone(), "acquisition", "Exchange"),
        with(good.clone(), "on_logout", MARK),
        with(good.clone(), "acquisition", ""),
        with(good.clone(), "on_logout", ""),
        with(good.clone(), "expires_at", ""),
        with(good.clone(), "parent_job_id", ""),
        with(good.clone(), "readers", vec![""]),
        with(good.clone(), "readers", MARK),
        with(good.clone(), "readers", vec![format!("{MARK}/x")]),
        with(good.clone(), "readers", many),
        with(good.clone(), "parent_job_id", format!("{MARK}:x")),
        with(good.clone(), "expires_at", MARK),
        with(good.clone(), "expires_at", 1_900_000_000),
        with(good.clone(), "expires_at", "2199-02-30T00:00:00Z"),
        with(good.clone(), "acquisition", "adopt"),
    ] {
        let answer = client.put(&job, &body).await?;
        assert_eq!(answer.code(), "invalid_request", "{} {answer:?}", with(body, "access_token", "…"));
        assert_problem(&answer, 400, "invalid_request");
        assert!(!answer.body["detail"].to_string().contains(MARK), "{answer:?}");
    }
    let twice = format!(r#"{{"access_token":"{MARK}","access_token":"{MARK}"}}"#);
    assert_problem(&put_raw(&client, &job, Some(JSON), twice).await?, 400, "invalid_request");
    stage.assert_untouched(&job).await
}

#[tokio::test]
async fn another_media_type_is_unsupported() -> Result<()> {
    let stage = stage().await?;
    let (job, client) = (new_job(), stage.client("mod-di")?);
    let body = proof(&stage.realm.login("alice").await?).to_string();
    for kind in [
        None,
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("application/jsonx"),
        Some("application/problem+json"),
        Some("text/json"),
        Some(""),
    ] {
        let answer = put_raw(&client, &job, kind, body.clone()).await?;
        assert_eq!(answer.status, 415, "{kind:?}: {answer:?}");
        assert_problem(&answer, 415, "unsupported_media_type");
    }
    stage.assert_untouched(&job).await?;
    let answer = put_raw(&client, &job, Some("Application/JSON; charset=utf-8"), body).await?;
    answer.expect_status(201)?;
    Ok(())
}
