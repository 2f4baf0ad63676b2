//! `tokenvault admin users revoke`

use clap::Subcommand;
use serde_json::{Value, json};

use super::answer::{array_items, counted, text};
use super::confirm::ConfirmArgs;
use super::context::CommandContext;
use super::job::jobs_table;
use super::job_search::find_jobs;
use crate::failure::Failure;

/// End what runs in a user's name
#[derive(Debug, Subcommand)]
pub(super) enum UsersCommand {
    Revoke(RevokeUserJobsArgs),
}

/// End all jobs of a user
///
/// As `jobs revoke` does each. A registration that is under way meanwhile may slip through: disable the user at the
/// identity provider first, or run it again. Asks first.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeUserJobsArgs {
    /// The tenant
    tenant: String,
    /// The user's id, as jobs show it
    user: String,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) async fn run(command: &UsersCommand, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let UsersCommand::Revoke(args) = command;
    let filter = [("tenant", args.tenant.clone()), ("user_id", args.user.clone())];
    let mut found = find_jobs(context, &filter, 0).await?;
    found.jobs.retain(|job| matches!(text(job, "state").as_str(), "active" | "suspended"));
    if found.jobs.is_empty() {
        found.require_known_tenant(Some(&args.tenant))?;
        return Err(Failure::not_found(format!("{} has no live job in {}", args.user, args.tenant)));
    }
    let count = counted(found.jobs.len(), "job");
    if args.confirm.dry_run {
        if context.is_json() {
            return context.print_json(&json!({"dry_run": true, "jobs": found.jobs}));
        }
        context.print_table(&jobs_table(&found.jobs, &context.times()))?;
        return context.print_line(format!("\n{count} would be revoked"));
    }
    args.confirm.ask(&format!("Revoke {count} of {} in {}?", args.user, args.tenant), context.console)?;
    let mut answer = context.client.delete(&["users", &args.tenant, &args.user, "jobs"]).await?;
    answer["ended_before"] = ended_before(&found.jobs, &answer).into();
    let failed = array_items(&answer, "failed");
    if context.is_json() {
        context.print_json(&answer)?;
    } else {
        for job in array_items(&answer, "revoked") {
            context.print_line(format!("{}: revoked", job.as_str().unwrap_or_default()))?;
        }
        for job in failed {
            context.print_line(format!("{}: failed: {}", text(job, "job_id"), text(job, "code")))?;
        }
        for job in array_items(&answer, "ended_before") {
            context.print_line(format!("{}: had ended before", job.as_str().unwrap_or_default()))?;
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} could not be ended; run it again", counted(failed.len(), "job"))))
}

/// The jobs that the answer does not mention: they ended by themselves before the request.
fn ended_before(asked: &[Value], answer: &Value) -> Vec<String> {
    let revoked = array_items(answer, "revoked").iter().filter_map(Value::as_str).map(str::to_owned);
    let told: Vec<String> =
        revoked.chain(array_items(answer, "failed").iter().map(|job| text(job, "job_id"))).collect();
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
