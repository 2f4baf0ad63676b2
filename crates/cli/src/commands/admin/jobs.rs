//! `tokenvault admin jobs list|show|renew|revoke`

use clap::Subcommand;
use serde_json::{Value, json};

use super::answer::{counted, text};
use super::batch::for_each_job;
use super::confirm::ConfirmArgs;
use super::context::CommandContext;
use super::job::{is_over, job_facts, jobs_table};
use super::job_search::find_jobs;
use super::renewal;
use crate::failure::Failure;

/// Look at jobs, renew them, end them
#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    List(ListJobsArgs),
    Show(ShowJobArgs),
    Renew(RenewJobsArgs),
    Revoke(RevokeJobsArgs),
}

/// List jobs
///
/// All that fulfil every condition given. Jobs that have ended are among them for as long as their ids are remembered.
#[derive(Debug, clap::Args)]
pub(super) struct ListJobsArgs {
    /// Of this tenant
    #[arg(long)]
    tenant: Option<String>,
    /// Of this user; quick together with --tenant (ended ones then only with --state ended)
    #[arg(long)]
    user: Option<String>,
    /// In this state
    #[arg(long, value_parser = ["active", "suspended", "releasing", "ended"])]
    state: Option<String>,
    /// Whose access token expires before this moment, such as 2027-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    expiring_before: Option<String>,
    /// At most this many; 0 for all
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Show all that is known of a job, but its tokens
#[derive(Debug, clap::Args)]
pub(super) struct ShowJobArgs {
    /// The tenant
    tenant: String,
    /// The job's id
    job: String,
}

/// Renew jobs now
///
/// Makes them due; a replica renews each as soon as it can. A child's renewal is its parent's. Several at once ask first.
#[derive(Debug, clap::Args)]
pub(super) struct RenewJobsArgs {
    /// The tenant
    tenant: String,
    /// The jobs' ids
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Wait until they are renewed, at most so many seconds for each; one that ends meanwhile is a failure
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// End jobs, whoever registered them
///
/// Their tokens are erased, and sessions of the vault's own are revoked at the identity provider. Their modules are told
/// 410 `job_ended` with the reason `revoked`. Several at once ask first.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeJobsArgs {
    /// The tenant
    tenant: String,
    /// The jobs' ids
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) async fn run(command: &JobsCommand, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    match command {
        JobsCommand::List(args) => list(args, context).await,
        JobsCommand::Show(args) => show(args, context).await,
        JobsCommand::Renew(args) => renew(args, context).await,
        JobsCommand::Revoke(args) => revoke(args, context).await,
    }
}

async fn list(args: &ListJobsArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let given = [
        ("tenant", &args.tenant),
        ("user_id", &args.user),
        ("state", &args.state),
        ("expiring_before", &args.expiring_before),
    ];
    let filter: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let found = find_jobs(context, &filter, args.limit).await?;
    found.require_known_tenant(args.tenant.as_deref())?;
    if context.is_json() {
        return context.print_json(&json!({"jobs": found.jobs, "unreadable": found.unreadable, "more": found.more}));
    }
    context.print_table(&jobs_table(&found.jobs, &context.times()))?;
    let count = counted(found.jobs.len(), "job");
    let more = if found.more { "; there are more: --limit 0 shows all" } else { "" };
    context.print_line(format!("\n{count}{more}"))?;
    if found.unreadable > 0 {
        context.print_line(format!(
            "{} cannot be read",
            counted(usize::try_from(found.unreadable).unwrap_or(usize::MAX), "record")
        ))?;
    }
    Ok(())
}

async fn show(args: &ShowJobArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let job = context.client.get(&["jobs", &args.tenant, &args.job], &[]).await?;
    if context.is_json() {
        return context.print_json(&job);
    }
    let facts = job_facts(&job, &context.times());
    context.print_table(&facts)
}

async fn renew(args: &RenewJobsArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    if args.jobs.len() > 1 && !args.confirm.dry_run {
        args.confirm.ask(&format!("Renew {} of {}?", counted(args.jobs.len(), "job"), args.tenant), context.console)?;
    }
    for_each_job(&args.jobs, context, &args.confirm, async |context, job| {
        if args.confirm.dry_run {
            let owner = renewal::job_to_renew(context, &args.tenant, job).await?;
            return Ok(json!({"job_id": job, "generation": owner["generation"], "outcome": "would be renewed"}));
        }
        let asked = context.client.post(&["jobs", &args.tenant, job, "renew"], None).await?;
        let paused = context.times().full(&asked, "paused_until");
        let outcome =
            if paused.is_empty() { "due now".to_owned() } else { format!("due; renewal is paused until {paused}") };
        if args.wait == 0 {
            return Ok(json!({"job_id": job, "generation": asked["generation"], "outcome": outcome}));
        }
        let renewed = renewal::wait_for_renewal(context, &args.tenant, job, &asked, args.wait).await?;
        Ok(json!({"job_id": job, "generation": renewed["generation"], "state": renewed["state"], "outcome": "renewed"}))
    })
    .await
}

async fn revoke(args: &RevokeJobsArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    if args.jobs.len() > 1 && !args.confirm.dry_run {
        args.confirm
            .ask(&format!("Revoke {} of {}?", counted(args.jobs.len(), "job"), args.tenant), context.console)?;
    }
    for_each_job(&args.jobs, context, &args.confirm, async |context, job| {
        let path = ["jobs", &args.tenant, job];
        if args.confirm.dry_run {
            let job = context.client.get(&path, &[]).await?;
            let outcome = if is_over(&job) { had_ended_before(&job) } else { "would be revoked".to_owned() };
            return Ok(json!({"job_id": job["job_id"], "state": job["state"], "outcome": outcome}));
        }
        let left = context.client.delete(&path).await?;
        let outcome = if text(&left, "reason") == "revoked" { "revoked".to_owned() } else { had_ended_before(&left) };
        Ok(json!({"job_id": job, "state": left["state"], "outcome": outcome}))
    })
    .await
}

fn had_ended_before(job: &Value) -> String {
    format!("had ended before: {}", text(job, "reason"))
}
