//! The quiet after the storm: until every job has been renewed twice since, or has ended.

use std::time::{Duration, Instant};

use futures::StreamExt;

use super::jobs::{Job, Jobs};
use super::orphans::key;
use super::readers::{Try, attempt};
use super::stage::{READERS, Stage};
use super::{LEASE, REPLICAS};
use crate::harness::Result;
use crate::harness::process::poll;

const LOOK: Duration = Duration::from_millis(500);
/// How many renewals show that a chain is sound.
const RENEWALS: u64 = 2;
/// Beyond what leases and quarantines may take.
const SPARE: Duration = Duration::from_secs(45);
const READ_PATIENCE: Duration = Duration::from_secs(25);
const READ_TRIES: usize = 3;

/// What became of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It was read, and Keycloak holds its access token to be active.
    Lives,
    /// It has ended, for this reason.
    Ended(String),
    /// Neither: what a read says of it.
    Mute(String),
}

/// The jobs' ends, in their order, and how often they were renewed.
#[derive(Debug, Default)]
pub struct Ends {
    /// What became of each.
    pub of: Vec<End>,
    /// Generations in all, without the first ones.
    pub renewals: u64,
}

/// Waits, then reads every job.
pub async fn wait(stage: &Stage, jobs: &Jobs, quarantine: Duration) -> Result<Ends> {
    let keys = jobs.jobs.iter().map(|job| key(stage.realm.name(), &job.id)).collect::<Result<Vec<_>>>()?;
    let begin = generations(stage, &keys).await?;
    let deadline = Instant::now() + quarantine * 2 + Duration::from_secs(LEASE) + SPARE;
    loop {
        let now = generations(stage, &keys).await?;
        let settled = |(then, now): (&Standing, &Standing)| now.1 || now.0 >= then.0 + RENEWALS;
        if begin.iter().zip(&now).all(settled) || Instant::now() > deadline {
            break;
        }
        tokio::time::sleep(LOOK).await;
    }
    let ends = jobs.jobs.iter().enumerate().map(|(number, job)| end(stage, job, number));
    let of: Vec<End> = futures::stream::iter(ends).buffered(4).collect().await;
    let last = generations(stage, &keys).await?;
    Ok(Ends { of, renewals: last.iter().map(|(generation, _)| generation.saturating_sub(1)).sum() })
}

/// A record's generation, and whether it has ended.
type Standing = (u64, bool);

/// A store that is slow for a moment is asked again.
async fn generations(stage: &Stage, keys: &[String]) -> Result<Vec<Standing>> {
    let answer = poll("the store to show the jobs' generations", SPARE, async || look(stage, keys).await.ok());
    answer.await
}

async fn look(stage: &Stage, keys: &[String]) -> Result<Vec<Standing>> {
    let mut connection = stage.redis.connection().await?;
    let mut ask = redis::pipe();
    for key in keys {
        ask.cmd("HMGET").arg(key).arg("gen").arg("state");
    }
    let found: Vec<(Option<u64>, Option<String>)> = ask.query_async(&mut connection).await?;
    let ended = |state: Option<String>| !matches!(state.as_deref(), Some("active" | "suspended"));
    Ok(found.into_iter().map(|(generation, state)| (generation.unwrap_or_default(), ended(state))).collect())
}

async fn end(stage: &Stage, job: &Job, number: usize) -> End {
    let mut last = String::new();
    for replica in number..number + READ_TRIES {
        let client = match stage.vault.client_of(READERS[0], replica % REPLICAS) {
            Ok(client) => client,
            Err(error) => return End::Mute(error.to_string()),
        };
        match attempt(&client, &job.id, "wait=20", READ_PATIENCE).await {
            Try::Ended(reason) => return End::Ended(reason),
            Try::Token(answer) => match stage.realm.is_active(answer.access_token()).await {
                Ok(true) => return End::Lives,
                Ok(false) => last = String::from("a token that Keycloak holds to be inactive"),
                Err(error) => last = error.to_string(),
            },
            Try::Failed(why) | Try::Wrong(why) => last = why,
        }
    }
    End::Mute(last)
}
