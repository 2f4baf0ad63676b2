//! `tokenvault admin jobs list|show|renew|revoke`

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::{Value, json};

use super::consent::Consent;
use super::job::{facts, jobs_table};
use super::show::{counted, list, text};
use super::{Desk, renewal};
use crate::failure::Failure;

/// Jobs asked for at a time.
const PAGE: usize = 500;

/// Look at jobs, renew them, end them
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Renew(RenewArgs),
    Revoke(RevokeArgs),
}

/// List jobs
///
/// All that fulfil every condition given. Jobs that have ended are among them for as long as their ids are remembered.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
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
pub(super) struct ShowArgs {
    /// The tenant
    tenant: String,
    /// The job's id
    job: String,
}

/// Renew jobs now
///
/// Makes them due; a replica renews each as soon as it can. A child's renewal is its parent's. Several at once ask first.
#[derive(Debug, clap::Args)]
pub(super) struct RenewArgs {
    /// The tenant
    tenant: String,
    /// The jobs' ids
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    /// Wait until they are renewed, at most so many seconds for each; one that ends meanwhile is a failure
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    #[command(flatten)]
    consent: Consent,
}

/// End jobs, whoever registered them
///
/// Their tokens are erased, and sessions of the vault's own are revoked at the identity provider. Their modules are told
/// 410 `job_ended` with the reason `revoked`. Several at once ask first.
#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    /// The tenant
    tenant: String,
    /// The jobs' ids
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<String>,
    #[command(flatten)]
    consent: Consent,
}

pub(super) async fn run(command: &Command, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    match command {
        Command::List(args) => show_list(args, desk).await,
        Command::Show(args) => show(args, desk).await,
        Command::Renew(args) => renew(args, desk).await,
        Command::Revoke(args) => revoke(args, desk).await,
    }
}

/// Jobs, each once, in order of their names.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) jobs: Vec<Value>,
    unreadable: u64,
    more: bool,
    /// The vault does not know the tenant that was asked for.
    strange: bool,
}

impl Found {
    /// Nothing found in a tenant is an answer; nothing found in one that there is not is a mistake. One that was taken out
    /// of the configuration, and has jobs left, is looked at as before.
    pub(super) fn of_a_known_tenant(&self, tenant: Option<&str>) -> Result<(), Failure> {
        match tenant {
            Some(tenant) if self.strange && self.jobs.is_empty() && self.unreadable == 0 => {
                Err(Failure::not_found(format!(
                    "the tenant {tenant} is not known: it is not configured in this vault, and no such job is left of it"
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Goes through the pages until `limit` are found (0: all).
pub(super) async fn find(desk: &Desk<'_, '_>, filter: &[(&str, String)], limit: usize) -> Result<Found, Failure> {
    let mut jobs: BTreeMap<(String, String), Value> = BTreeMap::new();
    let (mut unreadable, mut after, mut strange) = (0, None::<String>, false);
    loop {
        let wanted = if limit == 0 { PAGE } else { limit.saturating_sub(jobs.len()).clamp(1, PAGE) };
        let mut query = filter.to_vec();
        query.push(("limit", wanted.to_string()));
        query.extend(after.take().map(|after| ("after", after)));
        let page = desk.client.get(&["jobs"], &query).await?;
        for job in list(&page, "jobs") {
            jobs.insert((text(job, "tenant"), text(job, "job_id")), job.clone());
        }
        strange |= page["tenant_known"] == false;
        unreadable += page["unreadable"].as_u64().unwrap_or(0);
        after = page["next"].as_str().map(str::to_owned);
        let enough = limit > 0 && jobs.len() >= limit;
        if after.is_none() || enough {
            let more = after.is_some() || (limit > 0 && jobs.len() > limit);
            let shown = jobs.into_values().take(if limit == 0 { usize::MAX } else { limit });
            return Ok(Found { jobs: shown.collect(), unreadable, more, strange });
        }
    }
}

async fn show_list(args: &ListArgs, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let given = [
        ("tenant", &args.tenant),
        ("user_id", &args.user),
        ("state", &args.state),
        ("expiring_before", &args.expiring_before),
    ];
    let filter: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect();
    let found = find(desk, &filter, args.limit).await?;
    found.of_a_known_tenant(args.tenant.as_deref())?;
    if desk.is_json() {
        return desk.json(&json!({"jobs": found.jobs, "unreadable": found.unreadable, "more": found.more}));
    }
    desk.table(&jobs_table(&found.jobs, &desk.eye()))?;
    let count = counted(found.jobs.len(), "job");
    let more = if found.more { "; there are more: --limit 0 shows all" } else { "" };
    desk.line(format!("\n{count}{more}"))?;
    if found.unreadable > 0 {
        desk.line(format!(
            "{} cannot be read",
            counted(usize::try_from(found.unreadable).unwrap_or(usize::MAX), "record")
        ))?;
    }
    Ok(())
}

async fn show(args: &ShowArgs, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let job = desk.client.get(&["jobs", &args.tenant, &args.job], &[]).await?;
    if desk.is_json() {
        return desk.json(&job);
    }
    let facts = facts(&job, &desk.eye());
    desk.table(&facts)
}

async fn renew(args: &RenewArgs, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    if args.jobs.len() > 1 && !args.consent.dry_run {
        args.consent.ask(&format!("Renew {} of {}?", counted(args.jobs.len(), "job"), args.tenant), desk.console)?;
    }
    each(&args.jobs, desk, &args.consent, async |desk, job| {
        if args.consent.dry_run {
            let owner = renewal::renewable(desk, &args.tenant, job).await?;
            return Ok(json!({"job_id": job, "generation": owner["generation"], "outcome": "would be renewed"}));
        }
        let asked = desk.client.post(&["jobs", &args.tenant, job, "renew"], None).await?;
        let paused = desk.eye().full(&asked, "paused_until");
        let outcome =
            if paused.is_empty() { "due now".to_owned() } else { format!("due; renewal is paused until {paused}") };
        if args.wait == 0 {
            return Ok(json!({"job_id": job, "generation": asked["generation"], "outcome": outcome}));
        }
        let renewed = renewal::waited(desk, &args.tenant, job, &asked, args.wait).await?;
        Ok(json!({"job_id": job, "generation": renewed["generation"], "state": renewed["state"], "outcome": "renewed"}))
    })
    .await
}

async fn revoke(args: &RevokeArgs, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    if args.jobs.len() > 1 && !args.consent.dry_run {
        args.consent.ask(&format!("Revoke {} of {}?", counted(args.jobs.len(), "job"), args.tenant), desk.console)?;
    }
    each(&args.jobs, desk, &args.consent, async |desk, job| {
        let path = ["jobs", &args.tenant, job];
        if args.consent.dry_run {
            let job = desk.client.get(&path, &[]).await?;
            let outcome = if renewal::is_over(&job) { had_ended(&job) } else { "would be revoked".to_owned() };
            return Ok(json!({"job_id": job["job_id"], "state": job["state"], "outcome": outcome}));
        }
        let left = desk.client.delete(&path).await?;
        let outcome = if text(&left, "reason") == "revoked" { "revoked".to_owned() } else { had_ended(&left) };
        Ok(json!({"job_id": job, "state": left["state"], "outcome": outcome}))
    })
    .await
}

fn had_ended(job: &Value) -> String {
    format!("had ended before: {}", text(job, "reason"))
}

/// What became of a job, if not what was to become of it.
pub(super) struct Undone {
    pub(super) failure: Failure,
    /// What is known of the job, for programs.
    pub(super) known: Value,
}

impl From<Failure> for Undone {
    fn from(failure: Failure) -> Self {
        Self { failure, known: json!({}) }
    }
}

/// Does something to one job after the other, and tells of each. One that fails does not keep the others from being
/// done; the command fails as the first that failed.
async fn each(
    jobs: &[String],
    desk: &mut Desk<'_, '_>,
    consent: &Consent,
    act: impl AsyncFn(&Desk<'_, '_>, &str) -> Result<Value, Undone>,
) -> Result<(), Failure> {
    let (mut done, mut failed) = (Vec::new(), None::<Failure>);
    for job in jobs {
        match act(desk, job).await {
            Ok(outcome) => done.push(outcome),
            Err(undone) if jobs.len() == 1 && !desk.is_json() => return Err(undone.failure),
            Err(Undone { failure, mut known }) => {
                known["job_id"] = json!(job);
                known["outcome"] = json!(failure.text().unwrap_or("failed"));
                done.push(known);
                failed.get_or_insert(failure);
            }
        }
    }
    if desk.is_json() {
        desk.json(&json!({"jobs": done, "dry_run": consent.dry_run}))?;
    } else {
        for outcome in &done {
            desk.line(format!("{}: {}", text(outcome, "job_id"), text(outcome, "outcome")))?;
        }
    }
    // One that is alone is told of as any command's failure is.
    let told = |failure: Failure| if jobs.len() == 1 { failure } else { failure.already_told() };
    failed.map_or(Ok(()), |failure| Err(told(failure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_found_is_a_mistake_only_in_a_tenant_that_there_is_not() {
        let found = |strange, jobs: Vec<Value>| Found { jobs, strange, ..Found::default() };
        let strange = found(true, Vec::new()).of_a_known_tenant(Some("nope")).unwrap_err();
        assert!(
            strange.is_not_found() && strange.text().is_some_and(|text| text.contains("the tenant nope is not known"))
        );
        assert!(found(false, Vec::new()).of_a_known_tenant(Some("diku")).is_ok());
        assert!(found(false, Vec::new()).of_a_known_tenant(None).is_ok());
        // Taken out of the configuration, and its jobs are there still.
        assert!(found(true, vec![json!({"job_id": "a"})]).of_a_known_tenant(Some("gone")).is_ok());
        let unreadable = Found { unreadable: 1, ..found(true, Vec::new()) };
        assert!(unreadable.of_a_known_tenant(Some("gone")).is_ok());
    }
}
