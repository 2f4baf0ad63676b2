//! What Keycloak and the replicas' logs tell of a storm.
//!
//! *Sent twice* is what Keycloak booked so: a second success with one refresh token, or an error that says reuse.
//!
//! *Not to be helped* is the loss of an adopted job whose only token was in an answer that never reached a live process. All
//! of this must hold: the vault itself says `spend_lost`; Keycloak's last event of the job's session is a refresh that
//! succeeded, and no error stands beside it; and no replica's log has the answer to that refresh, though each writes a
//! line as soon as it has one, or the one that has it was killed within a quarter of a second, before it could write. A job with a spare, or with an access token that can be exchanged, is never excused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::jobs::{Jobs, Session};
use super::settle::{End, Ends};
use super::stage::Stage;
use super::strike::Struck;
use super::{Acquisition, Options, jobs};
use crate::harness::realm::LOGIN_APP;
use crate::harness::{Failure, Result};

/// Events asked for at a time.
const PAGE: usize = 2000;
/// Pages that a storm may fill; more would mean that the paging does not end.
const PAGES: usize = 500;

/// What was found.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Refresh tokens sent again after they had been spent.
    pub double_spends: usize,
    /// Sessions of the user interface's that are no longer there.
    pub sessions_killed: usize,
    /// Lost jobs that nothing could have saved.
    pub unavoidable: usize,
    /// What Keycloak refused, by its own words.
    pub refusals: BTreeMap<String, usize>,
}

/// One refresh, as Keycloak noted it.
#[derive(Debug, Serialize)]
struct Refresh {
    at: u64,
    session: String,
    token: String,
    error: Option<String>,
}

/// Gathers it all; Keycloak and the store are up and quiet by now.
pub async fn gather(
    stage: &mut Stage,
    options: &Options,
    (jobs, ends): (&Jobs, &Ends),
    struck: &Struck,
) -> Result<Evidence> {
    let refreshes = refreshes(stage).await?;
    if let Some(dir) = &options.evidence {
        leave(stage, &refreshes, dir)?;
    }
    let mut evidence = Evidence { double_spends: double_spends(&refreshes), ..Evidence::default() };
    for error in refreshes.iter().filter_map(|refresh| refresh.error.clone()) {
        *evidence.refusals.entry(error).or_default() += 1;
    }
    if options.acquisition == Acquisition::Adopt {
        let answered = answered(stage, struck)?;
        let lost = jobs.jobs.iter().zip(&ends.of).filter(|(_, end)| **end == End::Ended("spend_lost".to_owned()));
        let helpless = lost.filter(|(job, _)| never_answered(&refreshes, &job.sid, answered.get(&job.id).copied()));
        evidence.unavoidable = helpless.count();
    }
    evidence.sessions_killed = sessions_killed(stage, &jobs.sessions).await?;
    Ok(evidence)
}

/// All of them, newest first. The jobs live on meanwhile: what is new pushes the pages on, so some come twice.
async fn refreshes(stage: &Stage) -> Result<Vec<Refresh>> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for page in 0..PAGES {
        let (realm, first) = (stage.realm.name(), page * PAGE);
        let path = format!("/{realm}/events?type=REFRESH_TOKEN&type=REFRESH_TOKEN_ERROR&first={first}&max={PAGE}");
        let events = stage.realm.admin().call(Method::GET, &path, None).await?;
        let events = events.as_array().ok_or_else(|| Failure::new("Keycloak shows no events"))?;
        let unseen = events.iter().filter(|event| seen.insert(event["id"].to_string()));
        all.extend(unseen.map(refresh));
        if events.len() < PAGE {
            return Ok(all);
        }
    }
    Err(Failure::new("Keycloak's events do not come to an end"))
}

fn refresh(event: &Value) -> Refresh {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = event["error"].as_str().map(|error| format!("{error}: {}", text(&event["details"]["reason"])));
    Refresh {
        at: event["time"].as_u64().unwrap_or_default(),
        session: text(&event["sessionId"]),
        token: text(&event["details"]["refresh_token_id"]),
        error,
    }
}

/// Neither holds a token: the vault logs none, and Keycloak's events have only their ids.
fn leave(stage: &mut Stage, refreshes: &[Refresh], dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    for replica in stage.vault.replicas() {
        let log = replica.process().log_path().to_owned();
        std::fs::copy(&log, dir.join(log.file_name().unwrap_or_default()))?;
    }
    let lines: Vec<String> = refreshes.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
    Ok(std::fs::write(dir.join("refreshes.jsonl"), lines.join("\n"))?)
}

fn double_spends(refreshes: &[Refresh]) -> usize {
    let mut seen = HashSet::new();
    let again = refreshes.iter().filter(|refresh| match &refresh.error {
        None => !seen.insert(&refresh.token),
        Some(error) => error.to_lowercase().contains("reuse") || error.to_lowercase().contains("stale"),
    });
    again.count()
}

/// Whether the last refresh of a session succeeded and nobody lived to see its answer.
fn never_answered(refreshes: &[Refresh], session: &str, answered: Option<u64>) -> bool {
    let of_session = || refreshes.iter().filter(|refresh| refresh.session == session);
    let last = of_session().map(|refresh| refresh.at).max();
    of_session().all(|refresh| refresh.error.is_none()) && last.is_some_and(|last| answered.is_none_or(|at| at < last))
}

/// How long the write of an answer may take; a process that is killed within it had the answer in vain. A kill is noted a
/// moment before it is carried out.
const WRITE: u64 = 250;

/// When the answer to each job's last spend was logged by a process that lived on, in milliseconds.
fn answered(stage: &mut Stage, struck: &Struck) -> Result<HashMap<String, u64>> {
    let mut last = HashMap::new();
    for (number, replica) in stage.vault.replicas().iter_mut().enumerate() {
        let in_vain = |at: u64| {
            struck.killed.iter().any(|(who, when)| *who == number && (at.saturating_sub(50)..at + WRITE).contains(when))
        };
        for line in BufReader::new(File::open(replica.process().log_path())?).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            if !(line.contains(r#""step":"spend""#) && line.contains(r#""outcome":"ok""#)) {
                continue;
            }
            // A line that a kill has torn apart cannot be read, and its process did nothing after it.
            let Ok(fields) = serde_json::from_str::<Value>(&line) else { continue };
            let at = fields["timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
            let at = at.and_then(|at| u64::try_from(at.as_millisecond()).ok()).filter(|at| !in_vain(*at));
            if let (Some(job), Some(at)) = (fields["span"]["job"].as_str(), at) {
                let known: &mut u64 = last.entry(job.to_owned()).or_default();
                *known = at.max(*known);
            }
        }
    }
    Ok(last)
}

async fn sessions_killed(stage: &Stage, sessions: &[Session]) -> Result<usize> {
    let mut living: HashMap<&str, HashSet<String>> = HashMap::new();
    let mut killed = 0;
    for session in sessions {
        if !living.contains_key(session.subject.as_str()) {
            let found = stage.realm.admin().sessions(stage.realm.name(), &session.subject).await?;
            living.insert(&session.subject, found.iter().filter_map(with_login_app).collect());
        }
        let there = living.get(session.subject.as_str()).is_some_and(|living| living.contains(&session.sid));
        let renewed = match &session.pair {
            Some(pair) if there => jobs::refresh(stage, pair).await.is_ok(),
            Some(_) => false,
            None => there,
        };
        killed += usize::from(!renewed);
    }
    Ok(killed)
}

/// The id of a session in which the user interface still has its part.
fn with_login_app(session: &Value) -> Option<String> {
    let mut clients = session["clients"].as_object()?.values();
    let there = clients.any(|client| client.as_str() == Some(LOGIN_APP));
    there.then(|| session["id"].as_str().map(str::to_owned))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refresh(at: u64, token: &str, error: Option<&str>) -> Refresh {
        Refresh { at, session: "s".to_owned(), token: token.to_owned(), error: error.map(str::to_owned) }
    }

    #[test]
    fn a_second_success_and_an_error_that_says_reuse_are_double_spends() {
        let once = [refresh(1, "a", None), refresh(2, "b", None), refresh(3, "c", Some("user_session_not_found: "))];
        assert_eq!(double_spends(&once), 0);
        let twice = [refresh(1, "a", None), refresh(2, "a", None), refresh(3, "b", Some("invalid_token: Stale token"))];
        assert_eq!(double_spends(&twice), 2);
    }

    #[test]
    fn a_loss_is_excused_only_where_the_last_answer_was_never_seen_and_nothing_was_sent_twice() {
        let spent = [refresh(10, "a", None), refresh(20, "b", None)];
        assert!(never_answered(&spent, "s", Some(12)));
        assert!(never_answered(&spent, "s", None));
        assert!(!never_answered(&spent, "s", Some(21)), "a live process had it");
        assert!(!never_answered(&spent, "other", None), "nothing was spent at all");
        let reused = [refresh(10, "a", None), refresh(20, "a", Some("invalid_token: reuse"))];
        assert!(!never_answered(&reused, "s", None));
    }
}
