//! `tokenvault admin status`

use serde_json::Value;

use super::super::Failure;
use super::Desk;
use super::show::{list, moment, text};
use super::table::Table;

/// Show how the vault fares: replicas, what is due, pause, sealing key
#[derive(Debug, clap::Args)]
pub(super) struct Args;

pub(super) async fn run(_: &Args, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let status = desk.client.get(&["status"], &[]).await?;
    if desk.is_json() {
        return desk.json(&status);
    }
    desk.line(facts(&status))?;
    desk.line("")?;
    desk.line(replicas(&status))
}

fn facts(status: &Value) -> Table {
    let mut table = Table::plain();
    table.fact("answered by", text(status, "replica"));
    table.fact("time", moment(status, "now"));
    let counts = match &status["states"] {
        Value::Object(by_state) => {
            let counted: Vec<String> = by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
            format!(" ({})", counted.join(", "))
        }
        _ => String::new(),
    };
    table.fact("jobs", format!("{}{counts}", text(status, "jobs")));
    table.fact("due", text(status, "due"));
    table.fact("renewal", renewal(&status["pause"]));
    let promoted = text(status, "promoted_key");
    let sealing = if promoted.is_empty() { "the primary key of the keyring files".to_owned() } else { promoted };
    table.fact("sealing key", sealing);
    table.fact("re-sealing", resealing(&status["reseal"]));
    table
}

fn renewal(pause: &Value) -> String {
    if pause.is_null() {
        return "running".to_owned();
    }
    format!("paused until {} by {}: {}", moment(pause, "until"), text(pause, "by"), text(pause, "reason"))
}

/// How far a re-sealing has come, in a line.
pub(super) fn resealing(reseal: &Value) -> String {
    let (key, seen, total) = (text(reseal, "key"), text(reseal, "seen"), text(reseal, "total"));
    let (resealed, failed) = (text(reseal, "resealed"), text(reseal, "failed"));
    match text(reseal, "state").as_str() {
        "running" => {
            format!("running: {seen} of about {total} records looked at, {resealed} sealed with {key}, {failed} failed")
        }
        "finished" => {
            let at = moment(reseal, "finished_at");
            format!("finished at {at}: {seen} records looked at, {resealed} sealed with {key}, {failed} failed")
        }
        _ => "none so far".to_owned(),
    }
}

fn replicas(status: &Value) -> Table {
    let mut table =
        Table::headed(&["replica", "version", "schema", "started", "seen", "seals with", "keys", "renewing"]);
    for replica in list(status, "replicas") {
        table.row([
            text(replica, "id"),
            text(replica, "version"),
            text(replica, "schema"),
            moment(replica, "started_at"),
            moment(replica, "seen_at"),
            text(replica, "primary"),
            text(replica, "keys"),
            text(replica, "renewing"),
        ]);
    }
    table
}
