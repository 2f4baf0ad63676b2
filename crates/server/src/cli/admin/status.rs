//! `tokenvault admin status`

use serde_json::Value;
use tokenvault_core::time::Timestamp;

use super::super::Failure;
use super::Desk;
use super::show::{list, moment, text, time_of_day};
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
    table.fact("jobs", jobs(status));
    table.fact("due", format!("{}, as of {}", text(status, "due"), time_of_day(status, "now")));
    table.fact("renewal", renewal(&status["pause"]));
    let promoted = text(status, "promoted_key");
    let sealing = if promoted.is_empty() { "the primary key of the keyring files".to_owned() } else { promoted };
    table.fact("sealing key", sealing);
    table.fact("re-sealing", resealing(&status["reseal"]));
    table
}

/// How many jobs there are, all figures of one count: the states' where they were counted, or else the estimate of now.
fn jobs(status: &Value) -> String {
    let count = &status["states"];
    let Value::Object(_) = count else {
        return format!("about {}, as of {}", text(status, "jobs"), time_of_day(status, "now"));
    };
    let counts = ["active", "suspended", "releasing"].map(|state| count[state].as_u64().unwrap_or(0));
    let [active, suspended, releasing] = counts;
    let figures =
        format!("{} ({active} active, {suspended} suspended, {releasing} releasing)", counts.iter().sum::<u64>());
    let moment = |value: &Value, member: &str| Timestamp::parse_rfc3339(value[member].as_str()?);
    match (moment(count, "counted_at"), moment(status, "now")) {
        (Some(counted), Some(now)) => {
            let ago = now.since(counted).as_secs();
            format!("{figures}, as of {}, {ago} s ago", time_of_day(count, "counted_at"))
        }
        _ => format!("{figures}, as counted within the last minute"),
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_figures_of_a_line_are_of_one_count_and_say_of_when() {
        let mut status = json!({
            "now": "2027-01-31T12:03:12.345Z",
            "jobs": 5,
            "due": 2,
            "states": {"active": 12, "suspended": 1, "releasing": 0, "total": 13, "counted_at": "2027-01-31T12:03:04.1Z"},
        });
        assert_eq!(jobs(&status), "13 (12 active, 1 suspended, 0 releasing), as of 12:03:04, 8 s ago");
        let told = facts(&status).to_string();
        assert!(told.lines().any(|line| line.starts_with("due") && line.ends_with("2, as of 12:03:12")), "{told}");

        status["states"] = json!({"active": 12, "suspended": 1, "releasing": 0});
        assert_eq!(jobs(&status), "13 (12 active, 1 suspended, 0 releasing), as counted within the last minute");
        status["states"] = Value::Null;
        assert_eq!(jobs(&status), "about 5, as of 12:03:12");
    }
}
