//! `tokenvault admin users revoke`

use clap::Subcommand;
use serde_json::{Value, json};

use super::Desk;
use super::consent::Consent;
use super::job::jobs_table;
use super::jobs::find;
use super::show::{counted, list, text};
use crate::failure::Failure;

/// End what runs in a user's name
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Revoke(RevokeArgs),
}

/// End all jobs of a user
///
/// As `jobs revoke` does each. A registration that is under way meanwhile may slip through: disable the user at the
/// identity provider first, or run it again. Asks first.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The tenant
    tenant: String,
    /// The user's id, as jobs show it
    user: String,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(command: &Command, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let Command::Revoke(args) = command;
    let filter = [("tenant", args.tenant.clone()), ("user_id", args.user.clone())];
    let mut found = find(desk, &filter, 0).await?;
    found.jobs.retain(|job| matches!(text(job, "state").as_str(), "active" | "suspended"));
    if found.jobs.is_empty() {
        found.of_a_known_tenant(Some(&args.tenant))?;
        return Err(Failure::not_found(format!("{} has no live job in {}", args.user, args.tenant)));
    }
    let count = counted(found.jobs.len(), "job");
    if args.consent.dry_run {
        if desk.is_json() {
            return desk.json(&json!({"dry_run": true, "jobs": found.jobs}));
        }
        desk.table(&jobs_table(&found.jobs, &desk.eye()))?;
        return desk.line(format!("\n{count} would be revoked"));
    }
    args.consent.ask(&format!("Revoke {count} of {} in {}?", args.user, args.tenant), desk.console)?;
    let mut answer = desk.client.delete(&["users", &args.tenant, &args.user, "jobs"]).await?;
    answer["ended_before"] = ended_before(&found.jobs, &answer).into();
    let failed = list(&answer, "failed");
    if desk.is_json() {
        desk.json(&answer)?;
    } else {
        for job in list(&answer, "revoked") {
            desk.line(format!("{}: revoked", job.as_str().unwrap_or_default()))?;
        }
        for job in failed {
            desk.line(format!("{}: failed: {}", text(job, "job_id"), text(job, "code")))?;
        }
        for job in list(&answer, "ended_before") {
            desk.line(format!("{}: had ended before", job.as_str().unwrap_or_default()))?;
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} could not be ended; run it again", counted(failed.len(), "job"))))
}

/// Those that were to be revoked, and of which the answer says nothing: they ended by themselves in between.
fn ended_before(asked: &[Value], answer: &Value) -> Vec<String> {
    let revoked = list(answer, "revoked").iter().filter_map(Value::as_str).map(str::to_owned);
    let told: Vec<String> = revoked.chain(list(answer, "failed").iter().map(|job| text(job, "job_id"))).collect();
    asked.iter().map(|job| text(job, "job_id")).filter(|job| !told.contains(job)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_that_was_asked_about_is_told_of() {
        let asked = ["a", "b", "c"].map(|id| json!({"job_id": id}));
        let answer = json!({"revoked": ["a", "new"], "failed": [{"job_id": "c", "code": "store_unavailable"}]});
        assert_eq!(ended_before(&asked, &answer), ["b"]);
    }
}
