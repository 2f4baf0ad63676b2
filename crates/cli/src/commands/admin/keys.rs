//! `tokenvault admin keys list|promote`

use std::time::Duration;

use clap::Subcommand;

use super::answer::{array_items, text};
use super::context::CommandContext;
use super::table::{Cell, Column, TextTable};
use crate::failure::Failure;
use crate::terminal::style::Tone;

/// Between two looks at who holds a key that is waited for.
const POLL_EVERY: Duration = Duration::from_millis(500);

const COLUMNS: [Column; 5] = [
    Column::new("key"),
    Column::new("seals"),
    Column::new("records").rank(1),
    Column::new("held by").rank(2).flows(),
    Column::new("missing on").flows(),
];

/// Look at the keys that tokens are sealed with, and change the one that seals
#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    List(ListKeysArgs),
    Promote(PromoteKeyArgs),
}

/// Show which replica holds which key, and which one seals
#[derive(Debug, clap::Args)]
pub(super) struct ListKeysArgs {
    /// Count the records under each key, however many there are
    #[arg(long)]
    count: bool,
}

/// Seal with another key from now on
///
/// Refused while a live replica does not hold it; with --wait that is waited for, and the replicas that miss it are named
/// meanwhile. Older tokens stay as they are until they are renewed; `reseal` seals them anew.
#[derive(Debug, clap::Args)]
pub(super) struct PromoteKeyArgs {
    /// The key's id
    id: String,
    /// Wait until every live replica holds it, at most so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
}

pub(super) async fn run(command: &KeysCommand, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    match command {
        KeysCommand::List(args) => list_keys(args, context).await,
        KeysCommand::Promote(args) => promote(args, context).await,
    }
}

async fn list_keys(args: &ListKeysArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let query: &[(&str, String)] = if args.count { &[("count", "true".to_owned())] } else { &[] };
    let keys = context.client.get(&["keys"], query).await?;
    if context.is_json() {
        return context.print_json(&keys);
    }
    let times = context.times().with_now_from(&keys, "counted_at");
    let mut table = TextTable::headed(&COLUMNS);
    for key in array_items(&keys, "keys") {
        let seals = match (key["primary"] == true, keys["promoted"] == true) {
            (true, true) => "yes, promoted",
            (true, false) => "yes",
            _ => "no",
        };
        let records = text(key, "records");
        let records = if records.is_empty() { "not counted".to_owned() } else { records };
        let seals = Cell::new(seals, if seals == "no" { Tone::Plain } else { Tone::Good });
        let missing = Cell::new(text(key, "missing"), Tone::Wrong);
        table.row([text(key, "id").into(), seals, records.into(), text(key, "replicas").into(), missing]);
    }
    context.print_table(&table)?;
    for key in array_items(&keys, "keys") {
        let (id, wrong, check) = (text(key, "id"), text(key, "wrong"), text(key, "check"));
        if !wrong.is_empty() {
            let right = if check.is_empty() { check } else { format!(", whose check value is {check},") };
            context.print_line(format!(
                "\nAnother key than {id}{right} goes by that name on {wrong}: put the right file back there."
            ))?;
        }
    }
    if !keys["counted_at"].is_null() {
        context.print_line(format!("\nrecords as of {}", times.time_of_day(&keys, "counted_at")))?;
    }
    if keys["primary"].is_null() {
        context.print_line(
            "\nThe replicas' keyring files name different primary keys: promote the one that is to seal.",
        )?;
    }
    Ok(())
}

async fn promote(args: &PromoteKeyArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    if args.wait > 0 {
        wait_until_held_by_all(args, context).await?;
    }
    let answer = context.client.post(&["keys", &args.id, "promote"], None).await?;
    if context.is_json() {
        return context.print_json(&answer);
    }
    let how = if answer["changed"] == true { "seals from now on" } else { "was promoted before" };
    context.print_line(format!("{} {how}", text(&answer, "primary")))
}

/// Waits until no live replica misses the key. The promotion itself reports any other obstacle.
async fn wait_until_held_by_all(args: &PromoteKeyArgs, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let (id, mut told) = (&args.id, String::new());
    let polling = async {
        loop {
            let keys = context.client.get(&["keys"], &[]).await?;
            let key = array_items(&keys, "keys").iter().find(|key| text(key, "id") == *id);
            let missing = key.map(|key| text(key, "missing")).unwrap_or_default();
            if missing.is_empty() {
                return Ok(());
            }
            if missing != told {
                let waits = format!("{id} is missing on {missing}: waiting");
                writeln!(context.console.err, "{}", context.console.err_style.wrap(&waits, 2))?;
                told = missing;
            }
            tokio::time::sleep(POLL_EVERY).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(args.wait), polling).await;
    outcome.unwrap_or_else(|_| {
        let remedy = "look at their keyring files";
        Err(Failure::new(format!("{id} is still missing on {told} after {} s; {remedy}", args.wait)))
    })
}
