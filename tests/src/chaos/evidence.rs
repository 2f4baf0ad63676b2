//! What Keycloak's events tell of a storm, and whether what was lost could have been helped.
//!
//! *Sent twice* is what Keycloak booked so: a second success with one refresh token, or an error that says reuse.
//!
//! *Never answered* is the loss of an adopted job whose only token was in an answer that never reached a live process. All
//! of this must hold: the vault itself says `spend_lost`; Keycloak's last event of the job's session is a refresh that
//! succeeded, and no error stands beside it; and no replica's log has the answer to that refresh, though each writes a
//! line as soon as it has one.
//!
//! *Died holding it* is the loss of one whose answer did reach a process, by its log, which was killed before it could
//! have written anything: within a tenth of a second of that line. Nobody could have helped that either, but it is told by itself,
//! with the longest time between line and kill: a vault that dawdles before it writes shows there.
//!
//! A job with a spare, or with an access token that can be exchanged, is never excused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use reqwest::Method;
use serde::Serialize;
use serde_json::Value;

use super::jobs::{Jobs, Session};
use super::logs::{Answered, Told};
use super::schedule::SLOW;
use super::settle::{End, Ends};
use super::stage::Stage;
use super::strike::{Killed, Struck};
use super::{Acquisition, Options, jobs, logs};
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
    /// Lost jobs whose only token was in an answer that never reached a live process.
    pub never_answered: usize,
    /// Lost jobs whose only token reached a process that was killed before it could write.
    pub died_holding: usize,
    /// The longest that one of those held it, in milliseconds.
    pub died_holding_ms_max: u64,
    /// Answers to spends that a process had waiting for it when it went on after a stop.
    pub held_in_stopped: usize,
    /// What the replicas' logs tell.
    pub told: Told,
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
    let told = logs::read(stage)?;
    let lost = jobs
        .jobs
        .iter()
        .zip(&ends.of)
        .filter(|(job, end)| job.acquisition == Acquisition::Adopt && **end == End::Ended("spend_lost".to_owned()));
    for (job, _) in lost {
        let answers = told.answered.get(&job.id).map(Vec::as_slice).unwrap_or_default();
        match fate(&refreshes, &job.sid, answers, &struck.killed) {
            Fate::NeverAnswered => evidence.never_answered += 1,
            Fate::DiedHolding(for_so_long) => {
                evidence.died_holding += 1;
                evidence.died_holding_ms_max = evidence.died_holding_ms_max.max(for_so_long);
            }
            Fate::Helpable => {}
        }
    }
    evidence.held_in_stopped = held_in_stopped(&told, struck);
    evidence.told = told;
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

/// How long the write of an answer may take; a process that is killed within it had the answer in vain.
const WRITE: u64 = 100;

/// Whether a loss could have been helped.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Its only token was in an answer that never reached a process.
    NeverAnswered,
    /// Every process that got it was killed so many milliseconds later.
    DiedHolding(u64),
    /// It could, for all that is known.
    Helpable,
}

/// What became of the last refresh of a session.
fn fate(refreshes: &[Refresh], session: &str, answers: &[Answered], killed: &[Killed]) -> Fate {
    let of_session = || refreshes.iter().filter(|refresh| refresh.session == session);
    let Some(last) = of_session().map(|refresh| refresh.at).max() else { return Fate::Helpable };
    if of_session().any(|refresh| refresh.error.is_some()) {
        return Fate::Helpable;
    }
    let mut fate = Fate::NeverAnswered;
    for answer in answers.iter().filter(|answer| answer.at >= last) {
        let its_end =
            |kill: &&Killed| kill.replica == answer.replica && answer.at <= kill.gone && kill.sent <= answer.at + WRITE;
        fate = match (killed.iter().find(its_end), fate) {
            (None, _) => return Fate::Helpable,
            (Some(kill), Fate::DiedHolding(longest)) => {
                Fate::DiedHolding(longest.max(kill.sent.saturating_sub(answer.at)))
            }
            (Some(kill), _) => Fate::DiedHolding(kill.sent.saturating_sub(answer.at)),
        };
    }
    fate
}

/// Answers that lay in a stopped process: it noted them right after it went on, sooner than Keycloak issues anything to
/// whoever asks then.
fn held_in_stopped(told: &Told, struck: &Struck) -> usize {
    let slow = u64::try_from(SLOW.as_millis()).unwrap_or_default();
    let ends: Vec<(usize, u64)> = struck.stopped.iter().map(|stop| (stop.replica, stop.until_millis())).collect();
    let held = |answer: &&Answered| {
        ends.iter().any(|(replica, end)| *replica == answer.replica && (*end..end + slow).contains(&answer.at))
    };
    told.answered.values().flatten().filter(held).count()
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
        let seen = |at| [Answered { replica: 0, at }];
        assert_eq!(fate(&spent, "s", &seen(12), &[]), Fate::NeverAnswered);
        assert_eq!(fate(&spent, "s", &[], &[]), Fate::NeverAnswered);
        assert_eq!(fate(&spent, "s", &seen(21), &[]), Fate::Helpable, "a live process had it");
        assert_eq!(fate(&spent, "other", &[], &[]), Fate::Helpable, "nothing was spent at all");
        let reused = [refresh(10, "a", None), refresh(20, "a", Some("invalid_token: reuse"))];
        assert_eq!(fate(&reused, "s", &[], &[]), Fate::Helpable);
    }

    #[test]
    fn whoever_was_killed_with_an_answer_in_hand_is_told_apart_from_whoever_had_time_to_write_it() {
        let spent = [refresh(1_000, "a", None)];
        let seen = [Answered { replica: 1, at: 1_010 }];
        let killed = |replica, sent| [Killed { replica, sent, gone: sent + 5 }];
        assert_eq!(fate(&spent, "s", &seen, &killed(1, 1_030)), Fate::DiedHolding(20));
        assert_eq!(fate(&spent, "s", &seen, &killed(1, 1_007)), Fate::DiedHolding(0), "it was dying already");
        assert_eq!(fate(&spent, "s", &seen, &killed(1, 1_010 + WRITE + 1)), Fate::Helpable);
        assert_eq!(fate(&spent, "s", &seen, &killed(0, 1_030)), Fate::Helpable, "somebody else was killed");
        assert_eq!(fate(&spent, "s", &seen, &killed(1, 900)), Fate::Helpable, "it was killed before");
        let two = [seen[0], Answered { replica: 2, at: 1_020 }];
        assert_eq!(fate(&spent, "s", &two, &killed(1, 1_030)), Fate::Helpable, "another had it, too");
    }
}
