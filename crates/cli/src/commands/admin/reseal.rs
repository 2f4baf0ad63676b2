//! `tokenvault admin reseal`

use std::time::Duration;

use serde_json::Value;

use super::answer::{counted, text};
use super::confirm::ConfirmArgs;
use super::context::CommandContext;
use super::status::resealing;
use super::time_formatter::TimeFormatter;
use crate::failure::Failure;
use crate::terminal::progress;

/// Between two looks at the progress.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// Seal every record with the key that seals now
///
/// After a promotion, so that the old key can be taken out of the keyring. Runs in the background, in whichever replica takes
/// it up, and goes on where one that dies has left it; reads and renewals go on meanwhile. Asks first.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Wait until it is finished, and show how far it has come
    #[arg(long)]
    wait: bool,
    /// Start nothing; show how far the last one has come
    #[arg(long, conflicts_with_all = ["yes", "dry_run"])]
    status: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) async fn run(args: &Args, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let mut progress = if args.status {
        context.client.get(&["reseal"], &[]).await?
    } else {
        let status = context.client.get(&["status"], &[]).await?;
        let records = usize::try_from(status["jobs"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        let records = format!("about {}", counted(records, "record"));
        if args.confirm.dry_run {
            return would(&status, &records, context);
        }
        args.confirm.ask(&format!("Seal {records} anew?"), context.console)?;
        context.client.post(&["reseal"], None).await?
    };
    if args.wait && text(&progress, "state") == "running" {
        let asked = progress.clone();
        progress = followed(progress, context).await?;
        if let Some(failure) = replaced(&asked, &progress, &context.times()) {
            if context.is_json() {
                context.print_json(&progress)?;
            }
            return Err(failure);
        }
    }
    if context.is_json() {
        context.print_json(&progress)?;
    } else {
        let told = resealing(&progress, &context.times());
        context.print_line(told)?;
    }
    match progress["failed"].as_u64() {
        Some(failed) if failed > 0 && text(&progress, "state") == "finished" => {
            Err(Failure::new(format!("{failed} records could not be opened; they are as they were")))
        }
        _ => Ok(()),
    }
}

/// Why the re-sealing that was waited for did not finish, if it did not.
fn replaced(asked: &Value, found: &Value, times: &TimeFormatter) -> Option<Failure> {
    let same = ["key", "started_at"].iter().all(|member| asked[*member] == found[*member]);
    match text(found, "state").as_str() {
        "finished" if same => None,
        "finished" => Some(Failure::new(format!(
            "another re-sealing has taken its place, and that is {}",
            resealing(found, times)
        ))),
        _ => Some(Failure::new("the store knows nothing of the re-sealing any more; start it again")),
    }
}

fn would(status: &Value, records: &str, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    if context.is_json() {
        return context.print_json(&serde_json::json!({"dry_run": true, "records": status["jobs"]}));
    }
    context.print_line(format!("{records} would be sealed anew"))
}

/// Looks again and again until it is finished. On a terminal the progress is drawn.
async fn followed(mut progress: Value, context: &CommandContext<'_, '_>) -> Result<Value, Failure> {
    let bar = progress::records(context.console.style.is_terminal());
    loop {
        let count = |member: &str| progress[member].as_u64().unwrap_or(0);
        let message = format!("{} sealed, {} failed", count("resealed"), count("failed"));
        progress::show(&bar, count("seen"), count("total"), message);
        if text(&progress, "state") != "running" {
            bar.finish_and_clear();
            return Ok(progress);
        }
        tokio::time::sleep(POLL_EVERY).await;
        progress = context.client.get(&["reseal"], &[]).await?;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokenvault_core::time::Timestamp;

    use super::*;
    use crate::terminal::style::OutputStyle;

    #[test]
    fn one_that_was_lost_or_replaced_is_not_taken_for_finished() {
        let asked = json!({"state": "running", "key": "k2", "started_at": "2027-01-31T12:00:00Z"});
        let with = |state: &str, key: &str, at: &str| json!({"state": state, "key": key, "started_at": at});
        let times = TimeFormatter::new(OutputStyle::plain(), Timestamp::default());
        let told =
            |found: &Value| replaced(&asked, found, &times).and_then(|failure| failure.text().map(str::to_owned));
        assert_eq!(told(&with("finished", "k2", "2027-01-31T12:00:00Z")), None);
        let other = told(&with("finished", "k3", "2027-01-31T12:01:00Z")).unwrap_or_default();
        assert!(other.starts_with("another re-sealing has taken its place"), "{other}");
        let lost = told(&json!({"state": "none"})).unwrap_or_default();
        assert!(lost.contains("start it again"), "{lost}");
    }
}
