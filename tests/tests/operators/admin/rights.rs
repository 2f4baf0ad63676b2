//! Who may call where, and what is told about it.

use std::fs;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::policy::uri;
use tokenvault_tests::harness::process::{SOON, wait_until};

use crate::admin::stage::Stage;

const STATUS: &str = "/admin/v1/status";

#[tokio::test(flavor = "multi_thread")]
async fn modules_and_operators_have_doors_of_their_own() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let (admin_url, url) = (stage.vault.replica().admin_url(), stage.vault.replica().url());
    let ca = stage.vault.ca();
    // The same name under the modules' authority is nobody here, and the other way round.
    let forged = ca.client_uri(&uri("operator-operate"))?;
    let operator = stage.vault.operator_certificate("operate")?;
    assert!(Client::new(&admin_url, ca, Some(&forged))?.call(Method::GET, STATUS, None).await.is_err());
    assert!(Client::new(&admin_url, ca, None)?.call(Method::GET, STATUS, None).await.is_err());
    assert!(Client::new(&url, ca, Some(&operator))?.get("job").await.is_err());
    // Neither door leads to the other's rooms.
    let answer = stage.vault.operator("operate", 0)?.call(Method::GET, "/tokens/job", None).await?;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"));
    let answer = stage.module()?.call(Method::GET, STATUS, None).await?;
    assert_eq!((answer.status.as_u16(), answer.code()), (404, "not_found"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_role_is_in_force_within_seconds() -> Result<()> {
    let stage = Stage::set(600, 1).await?;
    let viewer = stage.vault.operator("view", 0)?;
    let resume = || async { viewer.call(Method::POST, "/admin/v1/resume", None).await };
    assert_eq!(resume().await?.expect_status(403)?.code(), "action_denied");
    let policy = stage.vault.dir().join("operators.toml");
    let promoted = fs::read_to_string(&policy)?.replace("role = \"view\"", "role = \"operate\"");
    fs::write(&policy, promoted)?;
    wait_until("the new role", Duration::from_secs(5), || async {
        resume().await.is_ok_and(|answer| answer.status == 200)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_stands_in_the_audit_log_under_the_operators_name() -> Result<()> {
    let mut stage = Stage::set(600, 1).await?;
    let (file, key) = (stage.vault.dir().join("audit.jsonl"), stage.vault.dir().join("audit.key"));
    fs::write(&key, "0123456789abcdef0123456789abcdef")?;
    let replica = stage.vault.replica();
    let config = replica.config_file().to_owned();
    let audited = format!(
        "{}\n[audit]\nfile = \"{}\"\nhash_key_file = \"{}\"\nrequired = true\n",
        fs::read_to_string(&config)?,
        file.display(),
        key.display()
    );
    fs::write(&config, audited)?;
    replica.terminate(SOON).await?;
    replica.restart().await?;
    let tenant = stage.realm.name().to_owned();
    let (proof, user) = (stage.login("alice").await?, stage.realm.user("alice")?.user_id.clone());
    stage.register("job", &proof, json!({})).await?;

    stage.admin(&["jobs", "show", &tenant, "job"])?.done()?;
    stage.admin(&["jobs", "revoke", &tenant, "job"])?.done()?;
    let viewer = stage.vault.operator_certificate("view")?;
    assert_eq!(stage.admin_as(&viewer, &["resume"])?.status, 1);

    let told = || fs::read_to_string(&file).unwrap_or_default();
    wait_until("the refusal in the log", SOON, || async { told().contains("action_denied") }).await?;
    let text = told();
    let lines: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let acts = lines.iter().filter(|line| line["actor"] == "operator");
    let word = |line: &Value, member: &str| line[member].as_str().unwrap_or("-").to_owned();
    let acts: Vec<String> = acts
        .map(|line| ["act", "name", "detail", "job", "outcome"].map(|member| word(line, member)).join(" | "))
        .collect();
    assert_eq!(
        acts,
        [
            "admin | operator-operate | jobs show | job | ok",
            "admin | operator-operate | jobs revoke | job | asked",
            "end | operator-operate | - | job | revoked",
            "admin | operator-operate | jobs revoke | job | ok",
            "admin | operator-view | POST /admin/v1/resume | - | action_denied",
        ]
    );
    assert!(lines.iter().filter(|line| line["actor"] == "operator").all(|line| line["request_id"].is_string()));
    assert!(!text.contains(&user) && !text.contains(&proof.access_token));
    Ok(())
}
