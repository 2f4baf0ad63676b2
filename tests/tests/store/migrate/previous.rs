//! Records that the version before wrote (schema 2, `schema-2.json`: every acquisition, a child, a suspended job, a
//! tombstone; tokens of 70 years) are served, renewed and moved on by this one.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokenvault_core::record::{State, Suspension};

use super::*;

const DUMP: &str = include_str!("schema-2.json");

fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        other => STANDARD.decode(other["base64"].as_str().unwrap_or_default()).expect("base64"),
    }
}

/// Puts the dump into Redis, and its keyring into the stage's file.
async fn load(stage: &Stage) -> Result<()> {
    let dump: Value = serde_json::from_str(DUMP)?;
    std::fs::write(&stage.file, dump["keyring"].as_str().expect("a keyring"))?;
    let mut redis = stage.redis.connection().await?;
    for (key, value) in dump["keys"].as_object().expect("keys") {
        let (kind, content) = value.as_object().and_then(|one| one.iter().next()).expect("a value");
        match (kind.as_str(), content) {
            ("string", text) => redis::cmd("SET").arg(key).arg(bytes(text)).query_async::<()>(&mut redis).await?,
            ("hash", Value::Object(fields)) => {
                for (field, value) in fields {
                    redis::cmd("HSET").arg(key).arg(field).arg(bytes(value)).query_async::<()>(&mut redis).await?;
                }
            }
            ("set", Value::Array(members)) => {
                for member in members {
                    redis::cmd("SADD").arg(key).arg(bytes(member)).query_async::<()>(&mut redis).await?;
                }
            }
            ("zset", Value::Array(members)) => {
                for member in members {
                    let (name, score) = (bytes(&member[0]), member[1].as_f64());
                    redis::cmd("ZADD").arg(key).arg(score).arg(name).query_async::<()>(&mut redis).await?;
                }
            }
            other => unreachable!("the dump has no {other:?}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_version_before_wrote_is_served_renewed_and_moved_on() -> Result<()> {
    let stage = Stage::set().await?;
    load(&stage).await?;
    let new = stage.replica("new", SCHEMA).await?;
    wait_until("the second schema to be heard of", SOON, async || new.services.replica.schema.demands_terms()).await?;

    // As it is: exchange, impersonate, adopt, and a child of the first.
    for number in 0..4 {
        let token = new.read(&job(number)).await.map_err(|problem| Failure::new(format!("{number}: {problem:?}")))?;
        let owner = if number == 3 { user(0) } else { user(number) };
        assert!(token.access_token.expose().ends_with("old") && token.user_id == owner, "job {number}");
    }
    let ended = new.read(&job(4)).await.err().map(|problem| problem.code);
    assert_eq!(ended, Some(Code::JobEnded));
    assert_eq!(stored(&new, 5).await?.state, State::Suspended(Suspension::UserDisabled));
    renewed(&new, 0).await?;
    assert_eq!(accounts(&stage, &new, 0).await?, (None, None), "an older replica would take it for forged");

    // On: each learns who its user is to Keycloak, the impersonated one in the session it has.
    assert_eq!(stage.migration(&new, "on")?.run(false, |_| {}).await?, SCHEMA);
    wait_until("the third schema to be heard of", SOON, async || new.services.replica.schema.keeps_accounts()).await?;
    for number in [0, 1, 2, 5] {
        let session = stored(&new, number).await?.session;
        renewed(&new, number).await?;
        let record = stored(&new, number).await?;
        assert_eq!((record.state, &record.session), (State::Active, &session), "job {number}");
        let account = Some(format!("account-user-{number}"));
        assert_eq!(accounts(&stage, &new, number).await?, (account.clone(), account));
        assert!(new.read(&job(number)).await.is_ok(), "job {number}");
    }
    assert!(new.read(&job(3)).await.is_ok(), "a child goes on with its parent");
    assert_eq!(stage.noticed.seal_failures.load(Ordering::Relaxed), 0);
    Ok(())
}
