//! Users who log in, and the jobs that are registered for them.
//!
//! With `exchange` and `impersonate` sessions have one, two or many jobs, as they do where people work; the user
//! interface keeps its own pair of each. With `adopt` each job has a login of its own, whose pair nobody else keeps.

use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use serde_json::{Value, json};

use super::stage::{READERS, REGISTRAR, Stage, username, users};
use super::{Acquisition, Options, REPLICAS, refused};
use crate::harness::client::Client;
use crate::harness::realm::{LOGIN_APP, Tokens};
use crate::harness::{Failure, Result};

/// How many jobs sessions have, in turn.
const JOBS_OF_SESSIONS: [usize; 5] = [1, 2, 1, 4, 12];
/// How many users log in at a time.
const AT_ONCE: usize = 4;
/// A proof older than this is replaced before it is used again.
const PROOF_AGE: Duration = Duration::from_secs(2);
const TRIES: usize = 5;

/// A registered job.
#[derive(Debug, Clone)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// The user id its tokens must carry.
    pub user_id: String,
    /// The session it was registered from.
    pub sid: String,
}

/// A session of the user interface's.
#[derive(Debug, Clone)]
pub struct Session {
    /// The user's `sub`.
    pub subject: String,
    /// Keycloak's id of it.
    pub sid: String,
    /// The user interface's own pair, where it was not deposited.
    pub pair: Option<Tokens>,
}

/// Everything that was registered.
#[derive(Debug, Default)]
pub struct Jobs {
    /// The jobs.
    pub jobs: Vec<Job>,
    /// The sessions they were registered from.
    pub sessions: Vec<Session>,
}

/// Logs users in and registers their jobs.
pub async fn register(stage: &Stage, options: &Options) -> Result<Jobs> {
    let shared = options.acquisition != Acquisition::Adopt;
    let (mut sizes, mut left) = (Vec::new(), options.jobs);
    while left > 0 {
        let size = if shared { JOBS_OF_SESSIONS[sizes.len() % JOBS_OF_SESSIONS.len()].min(left) } else { 1 };
        sizes.push(size);
        left -= size;
    }
    let sessions = sizes.into_iter().enumerate().map(|(number, jobs)| session(stage, options, number, jobs));
    let registered: Vec<(Session, Vec<Job>)> = futures::stream::iter(sessions).buffered(AT_ONCE).try_collect().await?;
    let mut all = Jobs::default();
    for (session, jobs) in registered {
        all.sessions.push(session);
        all.jobs.extend(jobs);
    }
    Ok(all)
}

async fn session(stage: &Stage, options: &Options, number: usize, jobs: usize) -> Result<(Session, Vec<Job>)> {
    let name = username(number % users(options));
    let user = stage.realm.user(&name)?.clone();
    let registrar = stage.vault.client_of(REGISTRAR, number % REPLICAS)?;
    let mut since = Instant::now();
    let mut pair = stage.realm.login(&name).await.map_err(|error| refused("a login", &error))?;
    let mut registered = Vec::new();
    for job in 0..jobs {
        if job > 0 && since.elapsed() > PROOF_AGE {
            since = Instant::now();
            pair = refresh(stage, &pair).await?;
        }
        let id = format!("job-{number:03}-{job:02}");
        put(&registrar, &id, &body(options.acquisition, number, &pair)).await?;
        registered.push(Job { id, user_id: user.user_id.clone(), sid: pair.sid() });
    }
    let kept = options.acquisition != Acquisition::Adopt;
    Ok((Session { subject: user.sub, sid: pair.sid(), pair: kept.then_some(pair) }, registered))
}

fn body(acquisition: Acquisition, session: usize, pair: &Tokens) -> Value {
    let word = acquisition.word();
    let mut body = json!({ "access_token": pair.access_token, "acquisition": word, "readers": READERS });
    match acquisition {
        Acquisition::Adopt => body["refresh_token"] = json!(pair.refresh()),
        Acquisition::Impersonate => {
            body["on_logout"] = json!(if session.is_multiple_of(4) { "revoke" } else { "continue" });
        }
        Acquisition::Exchange => {}
    }
    body
}

/// The user interface renews its own pair.
pub async fn refresh(stage: &Stage, pair: &Tokens) -> Result<Tokens> {
    let renewed = stage.realm.refresh(LOGIN_APP, pair.refresh()).await;
    renewed.map_err(|error| refused("the user interface renews its pair", &error))
}

/// A registration that gets no answer is asked for again, as a module would: it is the same job then.
async fn put(registrar: &Client, id: &str, body: &Value) -> Result<()> {
    let mut last = Failure::new("never asked");
    for _ in 0..TRIES {
        match registrar.put(id, body).await {
            Ok(answer) if answer.status.is_success() => return Ok(()),
            Ok(answer) if !answer.status.is_server_error() => return answer.expect_status(201).map(drop),
            Ok(answer) => last = Failure::new(format!("{answer:?}")),
            Err(error) => last = error,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(last.context(format_args!("registering {id}")))
}
