//! Every path a secret takes, and every one on which something goes wrong. Returns what the vault answered, without the
//! access tokens where they belong.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokenvault_tests::harness::client::{Answer, Client};
use tokenvault_tests::harness::process::{SOON, wait_until};
use tokenvault_tests::harness::proxy::Fault;
use tokenvault_tests::harness::realm::LOGIN_APP;
use tokenvault_tests::harness::{Failure, Result};

use crate::canary::heads;
use crate::canary::operators::{self, Events};
use crate::canary::stage::{Stage, unique};

/// Collects what was answered.
#[derive(Default)]
struct Told {
    text: String,
    served: Vec<String>,
}

impl Told {
    /// Keeps an answer for the search; the token of a 200 is kept apart.
    fn hear(&mut self, mut answer: Answer) -> Answer {
        let whole = answer.clone();
        if answer.status == 200
            && let Some(token) = answer.body.as_object_mut().and_then(|body| body.remove("access_token"))
        {
            self.served.extend(token.as_str().map(str::to_owned));
        }
        self.text.extend([format!("{:?}", answer.headers), answer.body.to_string(), "\n".to_owned()]);
        whole
    }

    async fn call(&mut self, client: &Client, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        Ok(self.hear(client.call(method, path, body).await?))
    }

    async fn expect(&mut self, client: &Client, status: u16, job: &str, body: Option<Value>) -> Result<Answer> {
        let method = if body.is_some() { Method::PUT } else { Method::GET };
        self.call(client, method, &format!("/tokens/{job}"), body.as_ref()).await?.expect_status(status)
    }
}

/// What was heard on the way.
pub(crate) struct Walked {
    /// What the vault answered.
    pub(crate) told: String,
    /// What operators were shown, by what showed it.
    pub(crate) shown: Vec<(String, Vec<u8>)>,
}

/// Walks them all.
pub(crate) async fn walk(stage: &mut Stage) -> Result<Walked> {
    let mut told = Told::default();
    let jobs = register(stage, &mut told).await?;
    renew(stage, &mut told, &jobs).await?;
    send_along(stage, &mut told).await?;
    refuse(stage, &mut told).await?;
    lose_keycloak(stage, &mut told).await?;
    lose_redis(stage, &mut told).await?;
    let events = Events::watch(&stage.vault.operator("view", 0)?).await?;
    operate(stage, &mut told, &jobs).await?;
    told.text.push_str(&operators::log_out(stage).await?);
    let mut shown = operators::commands(stage).await?;
    shown.push(("what admin says".to_owned(), operators::operate(stage).await?));
    shown.push(("the events".to_owned(), events.until("reseal_finished").await?));
    let client = client(stage)?;
    // One job is left behind, so that the store is not empty when it is searched.
    for (job, tenant) in jobs.iter().filter(|(job, _)| *job != stage.job) {
        let path = format!("/tokens/{job}");
        told.call(&client.for_tenant(tenant)?, Method::DELETE, &path, None).await?.expect_status(204)?;
        told.expect(&client.for_tenant(tenant)?, 410, job, None).await?;
    }
    for number in 0..told.served.len() {
        stage.more.push((format!("access token served as number {number}"), told.served[number].clone()));
    }
    Ok(Walked { told: told.text, shown })
}

fn client(stage: &Stage) -> Result<Client> {
    stage.vault.client("mod-di")
}

/// Registers by every acquisition, and with either way of the client to prove itself.
async fn register(stage: &mut Stage, told: &mut Told) -> Result<Vec<(String, String)>> {
    let (realm, signing) = (stage.realm.name().to_owned(), stage.signing.name().to_owned());
    let (client, job) = (client(stage)?, stage.job.clone());
    let mut jobs = vec![(job.clone(), realm.clone())];
    let body = json!({ "access_token": stage.login.access_token });
    told.expect(&client.for_tenant(&realm)?, 201, &job, Some(body.clone())).await?;
    told.expect(&client.for_tenant(&realm)?, 200, &job, Some(body)).await?;
    for (tenant, acquisition) in
        [(&realm, "impersonate"), (&realm, "adopt"), (&signing, "exchange"), (&signing, "impersonate")]
    {
        let login = if *tenant == realm { &stage.realm } else { &stage.signing }.login("bob").await?;
        stage.note(&format!("{acquisition} in {tenant}"), &login);
        let mut body = json!({ "access_token": login.access_token, "acquisition": acquisition });
        if acquisition == "adopt" {
            body["refresh_token"] = json!(login.refresh_token);
        }
        let job = unique();
        told.expect(&client.for_tenant(tenant)?, 201, &job, Some(body)).await?;
        jobs.push((job, tenant.clone()));
    }
    Ok(jobs)
}

/// Reads every job until it has had three pairs.
async fn renew(stage: &Stage, told: &mut Told, jobs: &[(String, String)]) -> Result<()> {
    let client = client(stage)?;
    for (job, tenant) in jobs {
        let client = client.for_tenant(tenant)?;
        let mut last = Failure::new("never asked");
        let mut generation = 0;
        for _ in 0..200 {
            let answer = told.hear(client.get_with(job, "min_ttl=3&wait=5").await?);
            generation = answer.body["generation"].as_u64().unwrap_or_default();
            if generation >= 3 {
                break;
            }
            last = Failure::new(format!("{tenant} {job}: {answer:?}"));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        if generation < 3 {
            return Err(last.context("the job is not renewed"));
        }
        let owner = told.expect(&client, 200, job, None).await?.body["user_id"].as_str().unwrap_or_default().to_owned();
        let page = told.call(&client, Method::GET, &format!("/tokens?user_id={owner}"), None).await?;
        page.expect_status(200)?;
    }
    Ok(())
}

/// Users' tokens in `x-okapi-token` and its like, with calls of every outcome.
async fn send_along(stage: &mut Stage, told: &mut Told) -> Result<()> {
    let client = client(stage)?.for_tenant(stage.realm.name())?;
    let (job, body) = (stage.job.clone(), json!({ "access_token": stage.login.access_token }));
    let mut note = |name, secret| stage.more.push((name, secret));
    told.text.extend(heads::send_along(&client, &job, &body, &mut note).await?);
    Ok(())
}

/// An operator looks at everything, and renews.
async fn operate(stage: &Stage, told: &mut Told, jobs: &[(String, String)]) -> Result<()> {
    let operator = stage.vault.operator("operate", 0)?;
    let api = "/admin/v1";
    for path in ["status", "jobs", "keys", "jobs?state=active", "nothing", &stage.login.access_token] {
        told.call(&operator, Method::GET, &format!("{api}/{path}"), None).await?;
    }
    for (job, tenant) in jobs {
        let path = format!("{api}/jobs/{tenant}/{job}");
        told.call(&operator, Method::GET, &path, None).await?.expect_status(200)?;
        told.call(&operator, Method::POST, &format!("{path}/renew"), None).await?;
    }
    let pause = json!({ "reason": "the canary's", "seconds": 1, "token": stage.login.access_token });
    told.call(&operator, Method::POST, &format!("{api}/pause"), Some(&pause)).await?;
    Ok(())
}

/// Tokens in every place where they do not belong.
async fn refuse(stage: &mut Stage, told: &mut Told) -> Result<()> {
    let client = client(stage)?.for_tenant(stage.realm.name())?;
    let login = stage.realm.login("alice").await?;
    stage.note("the refused", &login);
    let (token, refresh) = (login.access_token.clone(), login.refresh().to_owned());
    let forged = format!("{}{}", &token[..token.len() - 40], "A".repeat(40));
    stage.more.push(("forged token".to_owned(), forged.clone()));
    let foreign = stage.signing.login("alice").await?;
    stage.note("the foreign", &foreign);
    for body in [
        json!({ "access_token": forged }),
        json!({ "access_token": refresh }),
        json!({ "access_token": foreign.access_token }),
        json!({ "access_token": token, "user_id": "somebody-else" }),
        json!({ "access_token": token, "unknown": token }),
        json!({ "access_token": [token] }),
        json!({ "access_token": token, "readers": [token] }),
        json!({ "access_token": token, "expires_at": token }),
        json!({ "access_token": token, "parent_job_id": token }),
        json!({ "access_token": token, "acquisition": refresh }),
        json!({ "access_token": token, "acquisition": "adopt", "refresh_token": token }),
        json!({ "access_token": token, "acquisition": "adopt", "refresh_token": foreign.refresh_token }),
    ] {
        let answer = told.call(&client, Method::PUT, &format!("/tokens/{}", unique()), Some(&body)).await?;
        assert!(answer.status.is_client_error(), "{answer:?}");
    }
    for path in [format!("/tokens/{token}/x"), format!("/{refresh}"), format!("/tokens/x?{token}={refresh}")] {
        told.call(&client, Method::GET, &path, None).await?;
    }
    for header in ["authorization", "x-okapi-token", "x-okapi-request-id", "cookie", "if-none-match"] {
        let strange = client.with_header(header, &token)?;
        let mut answer = strange.get(&unique()).await?;
        // The request id is the caller's own, and is given back to it.
        answer.headers.remove("x-okapi-request-id");
        answer.body["instance"] = Value::Null;
        told.hear(answer);
    }
    let named = client.for_tenant(&token)?;
    told.expect(&named, 403, &unique(), None).await?;
    stage.realm.logout(LOGIN_APP, login.refresh()).await?;
    for acquisition in ["exchange", "impersonate", "adopt"] {
        let mut body = json!({ "access_token": token, "acquisition": acquisition });
        if acquisition == "adopt" {
            body["refresh_token"] = json!(refresh);
        }
        told.expect(&client, 422, &unique(), Some(body)).await?;
    }
    Ok(())
}

/// Keycloak away, broken, and cut in the middle of its answers, for registrations and for what is due meanwhile.
async fn lose_keycloak(stage: &mut Stage, told: &mut Told) -> Result<()> {
    for tenant in [stage.realm.name().to_owned(), stage.signing.name().to_owned()] {
        let client = client(stage)?.for_tenant(&tenant)?;
        for fault in [
            Some(Fault::Refuse),
            Some(Fault::DropRequest),
            Some(Fault::CutAnswerAfter(0)),
            Some(Fault::CutAnswerAfter(1500)),
            None,
        ] {
            for acquisition in ["exchange", "impersonate"] {
                let realm = if tenant == stage.realm.name() { &stage.realm } else { &stage.signing };
                let login = realm.login("alice").await?;
                stage.note(&format!("{acquisition} under {fault:?}"), &login);
                match fault {
                    Some(fault) => stage.proxy.set(fault),
                    None => stage.keycloak.stand_in(),
                }
                let body = json!({ "access_token": login.access_token, "acquisition": acquisition });
                told.expect(&client, 503, &unique(), Some(body)).await?;
                stage.proxy.clear();
                stage.proxy.hang_up();
                stage.keycloak.pass();
            }
        }
    }
    Ok(())
}

/// The store gone, and then back with another password.
async fn lose_redis(stage: &mut Stage, told: &mut Told) -> Result<()> {
    let client = client(stage)?.for_tenant(stage.realm.name())?;
    let login = stage.realm.login("alice").await?;
    stage.note("the storeless", &login);
    stage.redis.kill().await?;
    let body = json!({ "access_token": login.access_token });
    told.expect(&client, 503, &unique(), Some(body.clone())).await?;
    told.expect(&client, 503, &stage.job.clone(), None).await?;
    let ready = format!("{}/readyz", stage.vault.replica().management_url());
    let http = reqwest::Client::builder().no_proxy().build()?;
    told.text.push_str(&http.get(&ready).send().await?.text().await?);
    stage.redis.restart().await?;

    let job = stage.job.clone();
    wait_until("the job to be there again", SOON, async || {
        client.get(&job).await.is_ok_and(|answer| answer.status == 200)
    })
    .await?;
    told.expect(&client, 200, &job, None).await?;

    let other = unique();
    stage.more.push(("the store's other password".to_owned(), other.clone()));
    let mut connection = stage.redis.connection().await?;
    redis::cmd("CONFIG").arg("SET").arg("requirepass").arg(&other).query_async::<()>(&mut connection).await?;
    redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("normal").query_async::<i64>(&mut connection).await?;
    told.expect(&client, 503, &unique(), Some(body)).await?;
    told.text.push_str(&http.get(&ready).send().await?.text().await?);
    stage.redis.restart().await?;
    wait_until("the job to be there once more", SOON, async || {
        client.get(&job).await.is_ok_and(|answer| answer.status == 200)
    })
    .await
}
