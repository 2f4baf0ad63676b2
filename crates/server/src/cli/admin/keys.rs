//! `tokenvault admin keys list|promote`

use clap::Subcommand;

use super::super::Failure;
use super::Desk;
use super::show::{list, text};
use super::table::Table;

/// Look at the keys that tokens are sealed with, and change the one that seals
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    Promote(PromoteArgs),
}

/// Show which replica holds which key, and which one seals
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    /// Count the records under each key, however many there are
    #[arg(long)]
    count: bool,
}

/// Seal with another key from now on
///
/// Refused while a live replica does not hold it. Older tokens stay as they are until they are renewed; `reseal` seals
/// them anew.
#[derive(Debug, clap::Args)]
pub(super) struct PromoteArgs {
    /// The key's id
    id: String,
}

pub(super) async fn run(command: &Command, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    match command {
        Command::List(args) => show(args, desk).await,
        Command::Promote(args) => promote(args, desk).await,
    }
}

async fn show(args: &ListArgs, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let query: &[(&str, String)] = if args.count { &[("count", "true".to_owned())] } else { &[] };
    let keys = desk.client.get(&["keys"], query).await?;
    if desk.is_json() {
        return desk.json(&keys);
    }
    let mut table = Table::headed(&["key", "seals", "records", "held by", "missing on"]);
    for key in list(&keys, "keys") {
        let seals = match (key["primary"] == true, keys["promoted"] == true) {
            (true, true) => "yes, promoted",
            (true, false) => "yes",
            _ => "no",
        };
        let records = text(key, "records");
        let records = if records.is_empty() { "not counted".to_owned() } else { records };
        table.row([text(key, "id"), seals.to_owned(), records, text(key, "replicas"), text(key, "missing")]);
    }
    desk.line(table)?;
    if keys["primary"].is_null() {
        desk.line("\nThe replicas' keyring files name different primary keys: promote the one that is to seal.")?;
    }
    Ok(())
}

async fn promote(args: &PromoteArgs, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let answer = desk.client.post(&["keys", &args.id, "promote"], None).await?;
    if desk.is_json() {
        return desk.json(&answer);
    }
    let how = if answer["changed"] == true { "seals from now on" } else { "was promoted before" };
    desk.line(format!("{} {how}", text(&answer, "primary")))
}
