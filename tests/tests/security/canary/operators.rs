//! What operators do, at the command line and over the API; what they are shown of it; and Keycloak's own call.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;
use tokenvault_tests::harness::client::Client;
use tokenvault_tests::harness::courier::{Courier, hand_over};
use tokenvault_tests::harness::process::{SOON, poll, wait_until};
use tokenvault_tests::harness::realm::{LOGIN_APP, VAULT};
use tokenvault_tests::harness::vault::{binary, tokenvault};
use tokenvault_tests::harness::{Failure, Result};
use tokio::task::JoinHandle;

use crate::canary::stage::{Stage, unique};

/// The events of a replica, as they come.
pub(crate) struct Events {
    seen: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

impl Events {
    pub(crate) async fn watch(operator: &Client) -> Result<Self> {
        let url = format!("{}/admin/v1/events?recent=1000", operator.base_url());
        let mut stream = operator.http().get(url).timeout(Duration::from_mins(10)).send().await?.error_for_status()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let listening = tokio::spawn(async move {
            while let Ok(Some(chunk)) = stream.chunk().await {
                sink.lock().extend_from_slice(&chunk);
            }
        });
        Ok(Self { seen, listening })
    }

    /// All that came, once the event of this kind is among it.
    pub(crate) async fn until(&self, kind: &str) -> Result<Vec<u8>> {
        poll(kind, SOON, || async {
            let seen = self.seen.lock().clone();
            String::from_utf8_lossy(&seen).contains(kind).then_some(seen)
        })
        .await
    }
}

/// Runs the product's commands; what they say.
pub(crate) async fn commands(stage: &mut Stage) -> Result<Vec<(String, Vec<u8>)>> {
    let config = stage.vault.replica().config_file().display().to_string();
    let token = stage.administrators_token().await?;
    let mut said = Vec::new();
    for arguments in [
        &["check-config", "--config", &config][..],
        &["doctor", "--config", &config, "--keycloak-admin-token", &token],
        &["doctor", "--config", &config, "--output", "json"],
        &["migrate", "--config", &config, "--dry-run"],
    ] {
        let output = tokenvault(arguments)?;
        said.push((format!("what {} says", arguments[0]), [output.stdout, output.stderr].concat()));
    }
    // An older schema, for a moment: every record is opened then.
    schema(stage, "1").await?;
    let output = tokenvault(&["migrate", "--config", &config, "--dry-run"])?;
    schema(stage, "2").await?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    if !told.contains("would become") {
        return Err(Failure::new(format!(
            "no record was looked at: {told}{}",
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    said.push(("what migrate says of an older store".to_owned(), [output.stdout, output.stderr].concat()));
    Ok(said)
}

async fn schema(stage: &Stage, number: &str) -> Result<()> {
    let mut connection = stage.redis.connection().await?;
    Ok(redis::cmd("SET").arg("tv:schema").arg(number).query_async(&mut connection).await?)
}

/// Everything an operator may do, at the command line, and some of it wrong; what it says.
pub(crate) async fn operate(stage: &mut Stage) -> Result<Vec<u8>> {
    let (tenant, job) = (stage.realm.name().to_owned(), stage.job.clone());
    let keyring = stage.vault.dir().join("keyring.toml");
    let entry = tokenvault(&["keygen", "--id", "k2"])?.stdout;
    std::fs::write(&keyring, [std::fs::read(&keyring)?, entry].concat())?;
    // A key that no replica has told of yet cannot be promoted.
    let viewer = stage.vault.operator("view", 0)?;
    wait_until("word of the new key", SOON, || async {
        let keys = viewer.call(reqwest::Method::GET, "/admin/v1/keys", None).await;
        keys.is_ok_and(|keys| keys.body.to_string().contains("\"k2\""))
    })
    .await?;
    let mut said = Vec::new();
    for (arguments, status) in [
        (&["status"][..], 0),
        (&["jobs", "list"], 0),
        (&["jobs", "show", &tenant, &job], 0),
        (&["jobs", "show", &tenant, "no-such-job"], 4),
        (&["jobs", "renew", &tenant, &job, "--wait", "20"], 0),
        (&["pause", "--for", "60", "--reason", "the canary's", "--yes"], 0),
        (&["resume"], 0),
        (&["keys", "promote", "k2", "--wait", "20"], 0),
        (&["keys", "list", "--count"], 0),
        (&["reseal", "--yes", "--wait"], 0),
        (&["events", "--recent", "1000", "--no-follow"], 0),
    ] {
        for form in ["table", "json"] {
            let output = admin(stage, &[arguments, &["--output", form]].concat())?;
            let told = [output.stdout, output.stderr].concat();
            if output.status.code() != Some(status) {
                return Err(Failure::new(format!("{arguments:?}: {}", String::from_utf8_lossy(&told))));
            }
            said.extend(told);
        }
    }
    Ok(said)
}

fn admin(stage: &mut Stage, arguments: &[&str]) -> Result<std::process::Output> {
    let operator = stage.vault.operator_certificate("operate")?;
    let address = stage.vault.replica().admin_url();
    let mut command = Command::new(binary()?);
    command.args(["admin", "--address", &address]).env("HOME", "/nonexistent").stdin(Stdio::null());
    for (option, file) in
        [("--cacert", &stage.vault.ca().cert_file()), ("--cert", &operator.cert), ("--key", &operator.key)]
    {
        command.arg(option).arg(file);
    }
    Ok(command.args(arguments).output()?)
}

/// Keycloak tells of a logout, and somebody else sends what is none; what the vault says to it.
pub(crate) async fn log_out(stage: &mut Stage) -> Result<String> {
    let courier = Courier::of(&stage.realm, &[VAULT]).await?;
    let (tenant, login, job) = (stage.realm.name().to_owned(), stage.realm.login("alice").await?, unique());
    stage.note("who logs out", &login);
    let module = stage.vault.client("mod-di")?.for_tenant(&tenant)?;
    module.register(&job, &login).await?.expect_status(201)?;
    stage.realm.logout(LOGIN_APP, login.refresh()).await?;
    let token = courier.last()?.token();
    stage.more.push(("the logout token".to_owned(), token.clone()));
    let forged = format!("{}{}", &token[..token.len() - 40], "A".repeat(40));
    stage.more.push(("the forged logout token".to_owned(), forged.clone()));

    let (idp, mut told) = (stage.vault.idp_client(0)?, String::new());
    for (form, status) in [
        (format!("logout_token={forged}"), 400),
        (format!("logout_token={}", login.access_token), 400),
        (format!("logout_token={}", login.refresh()), 400),
        (format!("other={token}"), 400),
        (format!("logout_token={token}&logout_token={forged}"), 400),
        (format!("logout_token={token}"), 200),
    ] {
        let (answered, body) = hand_over(&idp, &tenant, form).await?;
        assert_eq!(answered, status, "{body}");
        told.push_str(&body);
    }
    wait_until("the end of the job", SOON, async || {
        module.get_with(&job, "wait=0").await.is_ok_and(|answer| answer.status == 410)
    })
    .await?;
    let strange = json!({ "logout_token": token });
    told.push_str(
        &idp.call(reqwest::Method::POST, &format!("/backchannel-logout/{token}"), Some(&strange))
            .await?
            .body
            .to_string(),
    );
    Ok(told)
}
