//! No secret is seen anywhere but where it belongs: unique ones are sent through every path with everything logged, and then
//! looked for in logs, metrics, traces, answers, the store, what operators are shown, and what the system shows of the process.
#![allow(
    clippy::disallowed_methods,
    reason = "tests watch real processes, so they read the real clock and ask over real networks"
)]

mod heads;
mod operators;
mod panics;
mod paths;
mod secrets;
mod stage;

use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::keyspace::Keyspace;

use crate::canary::secrets::Canaries;
use crate::canary::stage::Stage;

/// Sends the secrets everywhere, and looks for them everywhere.
async fn nothing_is_seen(log_format: &str) -> Result<()> {
    let mut stage = Stage::start(log_format).await?;
    let walked = paths::walk(&mut stage).await?;
    let mut places = stage.places(walked.told).await?;
    places.extend(walked.shown);
    let canaries = stage.canaries()?;
    assert!(canaries.len() > 30, "only {} secrets went through", canaries.len());

    let mut seen = Vec::new();
    for (place, bytes) in &places {
        assert!(!bytes.is_empty(), "there is nothing in {place}");
        seen.extend(canaries.seen_in(bytes).into_iter().map(|name| format!("{name} in {place}")));
    }
    assert!(seen.is_empty(), "seen: {seen:#?}");

    assert_search_reaches(&stage, &places).await?;
    stage.crash().await
}

/// The same search does find what is there: what may be seen, and a secret that is put into the store.
async fn assert_search_reaches(stage: &Stage, places: &[(String, Vec<u8>)]) -> Result<()> {
    let mut known = Canaries::default();
    known.add("job", &stage.job);
    let found: Vec<&str> =
        places.iter().filter(|(_, bytes)| !known.seen_in(bytes).is_empty()).map(|(place, _)| place.as_str()).collect();
    assert_eq!(found, ["the log", "the answers", "the store", "the audit log", "what admin says", "the events"]);

    let log = String::from_utf8_lossy(&places[0].1).into_owned();
    let logged = |level: &str, target: &str| log.lines().any(|line| line.contains(level) && line.contains(target));
    for (level, target) in [
        ("TRACE", "hyper_util"),
        ("TRACE", "h2::"),
        ("TRACE", "reqwest"),
        ("DEBUG", "tokenvault_server::"),
        ("DEBUG", "tokenvault_redis"),
    ] {
        assert!(logged(level, target), "no {level} of {target} was logged");
    }

    let mut connection = stage.redis.connection().await?;
    let planted = stage.login.access_token.as_str();
    redis::cmd("HSET").arg("planted").arg("field").arg(planted).query_async::<()>(&mut connection).await?;
    let store = stage::bytes_of(&Keyspace::read(&stage.redis).await?);
    assert!(stage.canaries()?.seen_in(&store).contains(&"access token of the login".to_owned()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_seen_with_everything_logged_as_json() -> Result<()> {
    nothing_is_seen("json").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_seen_with_everything_logged_as_text() -> Result<()> {
    nothing_is_seen("text").await
}
