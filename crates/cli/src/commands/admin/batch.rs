//! Does the same to several jobs, one after the other, and prints the outcome of each.
//!
//! A failure must never stop the jobs that come after it.

use serde_json::{Value, json};

use super::answer::text;
use super::confirm::ConfirmArgs;
use super::context::CommandContext;
use crate::failure::Failure;

/// Why one job of several failed.
pub(super) struct JobFailure {
    /// For people, and for the exit status.
    pub(super) failure: Failure,
    /// What is known of the job, for programs.
    pub(super) known: Value,
}

impl From<Failure> for JobFailure {
    fn from(failure: Failure) -> Self {
        Self { failure, known: json!({}) }
    }
}

/// Runs `act` for each job and prints the outcomes. The command fails with the first failure, after all jobs were tried.
pub(super) async fn for_each_job(
    jobs: &[String],
    context: &mut CommandContext<'_, '_>,
    confirm: &ConfirmArgs,
    act: impl AsyncFn(&CommandContext<'_, '_>, &str) -> Result<Value, JobFailure>,
) -> Result<(), Failure> {
    let (mut done, mut failed) = (Vec::new(), None::<Failure>);
    for job in jobs {
        match act(context, job).await {
            Ok(outcome) => done.push(outcome),
            Err(failed_job) if jobs.len() == 1 && !context.is_json() => return Err(failed_job.failure),
            Err(JobFailure { failure, mut known }) => {
                known["job_id"] = json!(job);
                known["outcome"] = json!(failure.text().unwrap_or("failed"));
                done.push(known);
                failed.get_or_insert(failure);
            }
        }
    }
    if context.is_json() {
        context.print_json(&json!({"jobs": done, "dry_run": confirm.dry_run}))?;
    } else {
        for outcome in &done {
            context.print_line(format!("{}: {}", text(outcome, "job_id"), text(outcome, "outcome")))?;
        }
    }
    // Of several jobs, each failure has been printed above.
    let remaining = |failure: Failure| if jobs.len() == 1 { failure } else { failure.already_printed() };
    failed.map_or(Ok(()), |failure| Err(remaining(failure)))
}
