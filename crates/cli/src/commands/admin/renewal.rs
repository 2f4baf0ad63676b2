//! Waits for a renewal that was asked for: looks at the job until its pair is a new one, or the job has ended.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::text;
use super::batch::JobFailure;
use super::context::CommandContext;
use super::job::is_over;
use crate::failure::Failure;

/// Between two requests for a job.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// How far the renewal is.
#[derive(Debug, PartialEq)]
enum RenewalStatus {
    /// The pair has been replaced, and the job goes on.
    Renewed,
    /// The job has ended, and why.
    Ended(String),
    /// Neither; what it waits for, if that is known.
    Pending(String),
}

/// Waits until the pair is newer than the one in `asked`, the answer to the renewal request, at most so many seconds. A child
/// has its parent's pair, and can end by itself.
pub(super) async fn wait_for_renewal(
    context: &CommandContext<'_, '_>,
    tenant: &str,
    job: &str,
    asked: &Value,
    seconds: u64,
) -> Result<Value, JobFailure> {
    let (owner, before) = (text(asked, "job_id"), asked["generation"].as_u64().unwrap_or(0));
    let mut last = (json!({}), String::new());
    let polling = async {
        loop {
            let pair = fetch_job(context, tenant, &owner).await?;
            let own = if owner == job { None } else { Some(fetch_job(context, tenant, job).await?) };
            let status = renewal_status(own.as_ref(), &pair, before);
            let known = json!({"state": pair["state"], "reason": pair["reason"], "generation": pair["generation"]});
            match status {
                RenewalStatus::Renewed => return Ok(pair),
                RenewalStatus::Ended(why) => {
                    let known = own.filter(is_over).map_or(
                        known,
                        |own| json!({"state": own["state"], "reason": own["reason"], "generation": pair["generation"]}),
                    );
                    return Err(JobFailure { failure: Failure::new(why), known });
                }
                RenewalStatus::Pending(why) => last = (known, why),
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(seconds), polling).await;
    outcome.unwrap_or_else(|_| {
        let (known, why) = last;
        let paused = text(asked, "paused_until");
        let pause = if paused.is_empty() { String::new() } else { format!("; renewal was paused until {paused}") };
        let failure = Failure::new(format!("{owner} was not renewed within {seconds} s{why}{pause}"));
        Err(JobFailure { failure, known })
    })
}

async fn fetch_job(context: &CommandContext<'_, '_>, tenant: &str, job: &str) -> Result<Value, Failure> {
    context.client.get(&["jobs", tenant, job], &[]).await.map_err(|failure| {
        let gone =
            || Failure::not_found(format!("{job} is not there any more, and whether it was renewed is not known"));
        if failure.is_not_found() { gone() } else { failure }
    })
}

/// The job whose pair a renewal of this one would replace. Fails where the vault would refuse the renewal.
pub(super) async fn job_to_renew(
    context: &CommandContext<'_, '_>,
    tenant: &str,
    job: &str,
) -> Result<Value, JobFailure> {
    let own = context.client.get(&["jobs", tenant, job], &[]).await?;
    let owner = match own["parent_job_id"].as_str().filter(|_| !is_over(&own)) {
        Some(parent) => context.client.get(&["jobs", tenant, parent], &[]).await?,
        None => own,
    };
    if !is_over(&owner) {
        return Ok(owner);
    }
    let failure = Failure::new(format!("{} is over: {}", text(&owner, "job_id"), text(&owner, "reason")));
    Err(JobFailure { failure, known: json!({"state": owner["state"], "reason": owner["reason"]}) })
}

/// Judges a job by its own record and by the record that has its pair. They are the same record where `own` is not given.
fn renewal_status(own: Option<&Value>, pair: &Value, before: u64) -> RenewalStatus {
    // A renewal can be the end: one that brings somebody else's token, for example. So the end is looked at first.
    if let Some(over) = own.into_iter().chain([pair]).find(|job| is_over(job)) {
        return RenewalStatus::Ended(format!("{} has ended: {}", text(over, "job_id"), text(over, "reason")));
    }
    let replaced = pair["generation"].as_u64().unwrap_or(0) > before;
    match text(pair, "state").as_str() {
        "suspended" => RenewalStatus::Pending(format!("; it is suspended: {}", text(pair, "reason"))),
        _ if replaced => RenewalStatus::Renewed,
        _ if pair["doubted_for"].is_u64() => RenewalStatus::Pending(
            "; Keycloak says that its session is over, and is asked again until that is certain".to_owned(),
        ),
        _ => match pair["failures"].as_u64().unwrap_or(0) {
            0 => RenewalStatus::Pending(String::new()),
            failures => RenewalStatus::Pending(format!("; failures since the last renewal: {failures}")),
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
        let over = |why: &str| RenewalStatus::Ended(why.to_owned());
        assert_eq!(renewal_status(None, &job("a", "active", "", 2), 1), RenewalStatus::Renewed);
        assert_eq!(renewal_status(None, &job("a", "active", "", 1), 1), RenewalStatus::Pending(String::new()));
        // Each of these has had one more pair than before.
        assert_eq!(
            renewal_status(None, &job("a", "ended", "identity_changed", 2), 1),
            over("a has ended: identity_changed")
        );
        assert_eq!(renewal_status(None, &job("a", "releasing", "revoked", 2), 1), over("a has ended: revoked"));
        let waits = RenewalStatus::Pending("; it is suspended: identity_missing".to_owned());
        assert_eq!(renewal_status(None, &job("a", "suspended", "identity_missing", 2), 1), waits);
        let (child, parent) = (job("child", "ended", "released", 1), job("a", "active", "", 2));
        assert_eq!(renewal_status(Some(&child), &parent, 1), over("child has ended: released"));
        assert_eq!(renewal_status(Some(&job("child", "active", "", 1)), &parent, 1), RenewalStatus::Renewed);
    }

    #[test]
    fn what_keeps_a_job_waiting_is_told() {
        let mut failing = job("a", "active", "", 1);
        failing["failures"] = json!(3);
        assert_eq!(
            renewal_status(None, &failing, 1),
            RenewalStatus::Pending("; failures since the last renewal: 3".to_owned())
        );
        let mut doubted = job("a", "active", "", 1);
        doubted["doubted_for"] = json!(10);
        let RenewalStatus::Pending(why) = renewal_status(None, &doubted, 1) else { panic!("it is not renewed") };
        assert!(why.contains("its session is over"), "{why}");
        let waits = RenewalStatus::Pending("; it is suspended: user_disabled".to_owned());
        assert_eq!(renewal_status(None, &job("a", "suspended", "user_disabled", 1), 1), waits);
    }
}
