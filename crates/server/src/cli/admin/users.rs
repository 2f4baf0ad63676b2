//! `tokenvault admin users revoke`

use clap::Subcommand;
use serde_json::json;

use super::super::Failure;
use super::Desk;
use super::consent::Consent;
use super::jobs::{find, jobs_table};
use super::show::{counted, list, text};

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
        return Err(Failure::not_found(format!("{} has no live job in {}", args.user, args.tenant)));
    }
    let count = counted(found.jobs.len(), "job");
    if args.consent.dry_run {
        if desk.is_json() {
            return desk.json(&json!({"dry_run": true, "jobs": found.jobs}));
        }
        desk.line(jobs_table(&found.jobs))?;
        return desk.line(format!("\n{count} would be revoked"));
    }
    args.consent.ask(&format!("Revoke {count} of {} in {}?", args.user, args.tenant), desk.console)?;
    let answer = desk.client.delete(&["users", &args.tenant, &args.user, "jobs"]).await?;
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
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("{} could not be ended; run it again", counted(failed.len(), "job"))))
}
