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
    /// How it came by its pair.
    pub acquisition: Acquisition,
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
    let sessions = shares(options).into_iter().enumerate();
    let sessions = sessions.map(|(number, (acquisition, jobs))| session(stage, options, (number, acquisition), jobs));
    let registered: Vec<(Session, Vec<Job>)> = futures::stream::iter(sessions).buffered(AT_ONCE).try_collect().await?;
    let mut all = Jobs::default();
    for (session, jobs) in registered {
        all.sessions.push(session);
        all.jobs.extend(jobs);
    }
    Ok(all)
}

/// Every session: how its jobs come by their pairs, and how many there are.
fn shares(options: &Options) -> Vec<(Acquisition, usize)> {
    let (mut sessions, ways) = (Vec::new(), options.acquisitions.len());
    for (way, acquisition) in options.acquisitions.iter().enumerate() {
        let mut left = options.jobs * (way + 1) / ways - options.jobs * way / ways;
        let mut sizes = JOBS_OF_SESSIONS.iter().cycle();
        while left > 0 {
            let size = if *acquisition == Acquisition::Adopt { 1 } else { *sizes.next().unwrap_or(&1).min(&left) };
            sessions.push((*acquisition, size));
            left -= size;
        }
    }
    sessions
}

async fn session(
    stage: &Stage,
    options: &Options,
    (number, acquisition): (usize, Acquisition),
    jobs: usize,
) -> Result<(Session, Vec<Job>)> {
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
        let mut tries = 0;
        while !put(&registrar, &id, &body(acquisition, number, &pair)).await? {
            tries += 1;
            if tries == TRIES {
                return Err(Failure::new(format!("registering {id}: every proof grew too old on its way")));
            }
            since = Instant::now();
            pair = refresh(stage, &pair).await?;
        }
        registered.push(Job { id, user_id: user.user_id.clone(), sid: pair.sid(), acquisition });
    }
    let kept = acquisition != Acquisition::Adopt;
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

/// A registration that gets no answer is asked for again, as a module would: it is the same job then. Answers with false
/// where the proof has expired, as it may on a busy machine: then there is no such job yet, for that is looked at first.
async fn put(registrar: &Client, id: &str, body: &Value) -> Result<bool> {
    let mut last = Failure::new("never asked");
    for _ in 0..TRIES {
        match registrar.put(id, body).await {
            Ok(answer) if answer.status.is_success() => return Ok(true),
            Ok(answer) if answer.status == 422 && answer.body["check"] == "expired" => return Ok(false),
            Ok(answer) if !answer.status.is_server_error() => return Err(Failure::new(format!("{answer:?}"))),
            Ok(answer) => last = Failure::new(format!("{answer:?}")),
            Err(error) => last = error,
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(last.context(format_args!("registering {id}")))
}

#[cfg(test)]
mod tests {
    use super::super::Fault;
    use super::*;

    #[test]
    fn every_way_has_its_share_of_the_jobs_and_every_adopted_one_a_session_of_its_own() {
        let shares = shares(&Options::new(&Acquisition::ALL, Fault::Kill, 1, 50));
        let of = |acquisition| shares.iter().filter(move |share| share.0 == acquisition).map(|share| share.1);
        assert_eq!(Acquisition::ALL.map(|acquisition| of(acquisition).sum::<usize>()), [16, 17, 17]);
        assert!(of(Acquisition::Adopt).all(|jobs| jobs == 1) && of(Acquisition::Exchange).any(|jobs| jobs > 1));
    }
}
