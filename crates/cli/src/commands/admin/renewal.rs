//! Waiting for a renewal that was asked for.

use std::time::Duration;

use serde_json::{Value, json};

use super::Desk;
use super::jobs::Undone;
use super::show::text;
use crate::failure::Failure;

/// Between two looks at a job.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a look shows.
#[derive(Debug, PartialEq)]
enum Seen {
    /// The pair has been replaced, and the job goes on.
    Renewed,
    /// The job is over, and why.
    Over(String),
    /// Neither; what stands in the way, if that is known.
    NotYet(String),
}

/// Waits until the pair that was there when it was `asked` has been replaced and the job lives, for so many seconds. A child's
/// pair is its parent's; the child can end by itself.
pub(super) async fn waited(
    desk: &Desk<'_, '_>,
    tenant: &str,
    job: &str,
    asked: &Value,
    seconds: u64,
) -> Result<Value, Undone> {
    let (owner, before) = (text(asked, "job_id"), asked["generation"].as_u64().unwrap_or(0));
    let mut last = (json!({}), String::new());
    let look = async {
        loop {
            let pair = looked_at(desk, tenant, &owner).await?;
            let own = if owner == job { None } else { Some(looked_at(desk, tenant, job).await?) };
            let seen = seen(own.as_ref(), &pair, before);
            let known = json!({"state": pair["state"], "reason": pair["reason"], "generation": pair["generation"]});
            match seen {
                Seen::Renewed => return Ok(pair),
                Seen::Over(why) => {
                    let known = own.filter(is_over).map_or(
                        known,
                        |own| json!({"state": own["state"], "reason": own["reason"], "generation": pair["generation"]}),
                    );
                    return Err(Undone { failure: Failure::new(why), known });
                }
                Seen::NotYet(why) => last = (known, why),
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let looked = tokio::time::timeout(Duration::from_secs(seconds), look).await;
    looked.unwrap_or_else(|_| {
        let (known, why) = last;
        let paused = text(asked, "paused_until");
        let pause = if paused.is_empty() { String::new() } else { format!("; renewal was paused until {paused}") };
        let failure = Failure::new(format!("{owner} was not renewed within {seconds} s{why}{pause}"));
        Err(Undone { failure, known })
    })
}

async fn looked_at(desk: &Desk<'_, '_>, tenant: &str, job: &str) -> Result<Value, Failure> {
    desk.client.get(&["jobs", tenant, job], &[]).await.map_err(|failure| {
        let gone =
            || Failure::not_found(format!("{job} is not there any more, and whether it was renewed is not known"));
        if failure.is_not_found() { gone() } else { failure }
    })
}

/// The job whose pair would be replaced, where a renewal of this one would not be refused.
pub(super) async fn renewable(desk: &Desk<'_, '_>, tenant: &str, job: &str) -> Result<Value, Undone> {
    let own = desk.client.get(&["jobs", tenant, job], &[]).await?;
    let owner = match own["parent_job_id"].as_str().filter(|_| !is_over(&own)) {
        Some(parent) => desk.client.get(&["jobs", tenant, parent], &[]).await?,
        None => own,
    };
    if !is_over(&owner) {
        return Ok(owner);
    }
    let failure = Failure::new(format!("{} is over: {}", text(&owner, "job_id"), text(&owner, "reason")));
    Err(Undone { failure, known: json!({"state": owner["state"], "reason": owner["reason"]}) })
}

pub(super) fn is_over(job: &Value) -> bool {
    matches!(text(job, "state").as_str(), "releasing" | "ended")
}

/// What a job and the record that has its pair show; they are one where `own` is not given.
fn seen(own: Option<&Value>, pair: &Value, before: u64) -> Seen {
    // A renewal can be the end: one that brings somebody else's token, for example. So the end is looked at first.
    if let Some(over) = own.into_iter().chain([pair]).find(|job| is_over(job)) {
        return Seen::Over(format!("{} has ended: {}", text(over, "job_id"), text(over, "reason")));
    }
    let replaced = pair["generation"].as_u64().unwrap_or(0) > before;
    match text(pair, "state").as_str() {
        "suspended" => Seen::NotYet(format!("; it is suspended: {}", text(pair, "reason"))),
        _ if replaced => Seen::Renewed,
        _ if pair["doubted_for"].is_u64() => Seen::NotYet(
            "; Keycloak says that its session is over, and is asked again until that is certain".to_owned(),
        ),
        _ => match pair["failures"].as_u64().unwrap_or(0) {
            0 => Seen::NotYet(String::new()),
            failures => Seen::NotYet(format!("; failures since the last renewal: {failures}")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, state: &str, reason: &str, generation: u64) -> Value {
        json!({"job_id": id, "state": state, "reason": reason, "generation": generation, "failures": 0})
    }

    #[test]
    fn only_a_job_that_goes_on_counts_as_renewed() {
        let over = |why: &str| Seen::Over(why.to_owned());
        assert_eq!(seen(None, &job("a", "active", "", 2), 1), Seen::Renewed);
        assert_eq!(seen(None, &job("a", "active", "", 1), 1), Seen::NotYet(String::new()));
        // Each of these has had one more pair than before.
        assert_eq!(seen(None, &job("a", "ended", "identity_changed", 2), 1), over("a has ended: identity_changed"));
        assert_eq!(seen(None, &job("a", "releasing", "revoked", 2), 1), over("a has ended: revoked"));
        let waits = Seen::NotYet("; it is suspended: identity_missing".to_owned());
        assert_eq!(seen(None, &job("a", "suspended", "identity_missing", 2), 1), waits);
        let (child, parent) = (job("child", "ended", "released", 1), job("a", "active", "", 2));
        assert_eq!(seen(Some(&child), &parent, 1), over("child has ended: released"));
        assert_eq!(seen(Some(&job("child", "active", "", 1)), &parent, 1), Seen::Renewed);
    }

    #[test]
    fn what_keeps_a_job_waiting_is_told() {
        let mut failing = job("a", "active", "", 1);
        failing["failures"] = json!(3);
        assert_eq!(seen(None, &failing, 1), Seen::NotYet("; failures since the last renewal: 3".to_owned()));
        let mut doubted = job("a", "active", "", 1);
        doubted["doubted_for"] = json!(10);
        let Seen::NotYet(why) = seen(None, &doubted, 1) else { panic!("it is not renewed") };
        assert!(why.contains("its session is over"), "{why}");
        let waits = Seen::NotYet("; it is suspended: user_disabled".to_owned());
        assert_eq!(seen(None, &job("a", "suspended", "user_disabled", 1), 1), waits);
    }
}
