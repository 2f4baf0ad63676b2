//! A limit of a user's sessions, which impersonated jobs use up.

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::{LOGIN_APP, LabRealm};

use crate::doctor::stage::Stage;

/// Copies a flow of the realm's, with a limiter at its end, and returns Keycloak's id of the copy.
async fn limited(realm: &LabRealm, flow: &str, copy: &str, config: &Value) -> Result<String> {
    let (admin, flows) = (realm.admin(), format!("/{}/authentication/flows", realm.name()));
    let quoted = flow.replace(' ', "%20");
    admin.call(Method::POST, &format!("{flows}/{quoted}/copy"), Some(&json!({ "newName": copy }))).await?;
    let limiter = json!({ "provider": "user-session-limits" });
    admin.call(Method::POST, &format!("{flows}/{copy}/executions/execution"), Some(&limiter)).await?;
    let executions = admin.call(Method::GET, &format!("{flows}/{copy}/executions"), None).await?;
    let mut added = executions.as_array().and_then(|all| all.last().cloned()).unwrap_or_default();
    added["requirement"] = json!("REQUIRED");
    admin.call(Method::PUT, &format!("{flows}/{copy}/executions"), Some(&added)).await?;
    let id = added["id"].as_str().unwrap_or_default();
    let settings = json!({ "alias": format!("{copy}-limit"), "config": config });
    let path = format!("/{}/authentication/executions/{id}/config", realm.name());
    admin.call(Method::POST, &path, Some(&settings)).await?;
    let all = admin.call(Method::GET, &flows, None).await?;
    let made = all.as_array().into_iter().flatten().find(|flow| flow["alias"] == copy);
    Ok(made.and_then(|flow| flow["id"].as_str()).unwrap_or_default().to_owned())
}

fn limit(behavior: &str, realm: u32, client: u32) -> Value {
    json!({ "behavior": behavior, "userRealmLimit": realm.to_string(), "userClientLimit": client.to_string() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_sessions_is_a_hazard_where_jobs_use_it_up() -> Result<()> {
    let stage = Stage::on(LabRealm::builder()).await?;
    let realm = stage.realm();
    let set = async |settings: Value| realm.admin().update_realm(realm.name(), &settings).await;
    assert_eq!(stage.examine_whole(&[]).await?.verdict("session-limit"), "fine");

    // Exchanged jobs open no session.
    limited(realm, "direct grant", "denies", &limit("Deny new session", 2, 0)).await?;
    set(json!({ "directGrantFlow": "denies" })).await?;
    assert_eq!(stage.examine_whole(&[]).await?.verdict("session-limit"), "fine");

    stage.register("impersonate")?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("session-limit", "\"denies\" lets a user have 2 sessions", "let no job ask for `impersonate`")?;
    assert!(found.finding("session-limit").contains("cannot log in"), "{found}");
    // As it is said.
    let account = realm.user("alice")?.sub.clone();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        sessions.push(realm.impersonate(&account).await?);
    }
    assert!(realm.login("alice").await.is_err(), "two jobs have used the limit up");

    // By client, jobs are not counted.
    limited(realm, "direct grant", "by-client", &limit("Deny new session", 0, 1)).await?;
    set(json!({ "directGrantFlow": "by-client" })).await?;
    assert_eq!(stage.examine_whole(&[]).await?.verdict("session-limit"), "fine");
    assert!(realm.login("alice").await.is_ok());

    // A client may have a flow of its own.
    let own = limited(realm, "browser", "ends", &limit("Terminate oldest session", 3, 0)).await?;
    stage.change(LOGIN_APP, |client| client["authenticationFlowBindingOverrides"] = json!({ "browser": own })).await?;
    let found = stage.examine_whole(&[]).await?;
    found.expect_only("session-limit", "\"ends\" lets a user have 3 sessions", "raise the limit")?;
    assert!(found.finding("session-limit").contains("ends the session that was used least lately"), "{found}");

    stage.register("exchange")?;
    let found = stage.examine_whole(&[]).await?;
    assert!(found.succeeded && found.verdict("session-limit") == "note", "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limiter_that_is_switched_off_is_none() -> Result<()> {
    let stage = Stage::on(LabRealm::builder()).await?;
    stage.register("impersonate")?;
    let realm = stage.realm();
    limited(realm, "browser", "off", &limit("Deny new session", 1, 0)).await?;
    let flows = format!("/{}/authentication/flows/off/executions", realm.name());
    let executions = realm.admin().call(Method::GET, &flows, None).await?;
    let mut limiter = executions.as_array().and_then(|all| all.last().cloned()).unwrap_or_default();
    limiter["requirement"] = json!("DISABLED");
    realm.admin().call(Method::PUT, &flows, Some(&limiter)).await?;
    realm.admin().update_realm(realm.name(), &json!({ "browserFlow": "off" })).await?;

    assert_eq!(stage.examine_whole(&[]).await?.verdict("session-limit"), "fine");
    Ok(())
}
