//! `tokenvault admin reseal`

use std::time::Duration;

use serde_json::Value;

use super::super::{Failure, progress};
use super::Desk;
use super::consent::Consent;
use super::show::{counted, text};
use super::status::resealing;

/// Between two looks at the progress.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
    consent: Consent,
}

pub(super) async fn run(args: &Args, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let mut progress = if args.status {
        desk.client.get(&["reseal"], &[]).await?
    } else {
        let status = desk.client.get(&["status"], &[]).await?;
        let records = usize::try_from(status["jobs"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
        let records = format!("about {}", counted(records, "record"));
        if args.consent.dry_run {
            return would(&status, &records, desk);
        }
        args.consent.ask(&format!("Seal {records} anew?"), desk.console)?;
        desk.client.post(&["reseal"], None).await?
    };
    if args.wait {
        progress = followed(progress, desk).await?;
    }
    if desk.is_json() {
        desk.json(&progress)?;
    } else {
        desk.line(resealing(&progress))?;
    }
    match progress["failed"].as_u64() {
        Some(failed) if failed > 0 && text(&progress, "state") == "finished" => {
            Err(Failure::new(format!("{failed} records could not be opened; they are as they were")))
        }
        _ => Ok(()),
    }
}

fn would(status: &Value, records: &str, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    if desk.is_json() {
        return desk.json(&serde_json::json!({"dry_run": true, "records": status["jobs"]}));
    }
    desk.line(format!("{records} would be sealed anew"))
}

/// Looks again and again until it is finished. On a terminal the progress is drawn.
async fn followed(mut progress: Value, desk: &Desk<'_, '_>) -> Result<Value, Failure> {
    let bar = progress::records(desk.console.terminal);
    loop {
        let count = |member: &str| progress[member].as_u64().unwrap_or(0);
        let message = format!("{} sealed, {} failed", count("resealed"), count("failed"));
        progress::show(&bar, count("seen"), count("total"), message);
        if text(&progress, "state") != "running" {
            bar.finish_and_clear();
            return Ok(progress);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        progress = desk.client.get(&["reseal"], &[]).await?;
    }
}
