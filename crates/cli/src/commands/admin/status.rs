//! `tokenvault admin status`

use serde_json::Value;
use tokenvault_core::time::Timestamp;

use super::answer::{array_items, text};
use super::context::CommandContext;
use super::table::{Cell, Column, TextTable};
use super::time_formatter::TimeFormatter;
use crate::failure::Failure;
use crate::terminal::style::Tone;

/// A replica announces itself every two seconds, and is forgotten after fifteen. One that has missed several turns is late,
/// and one that has missed more is most likely dead.
const LATE: u64 = 5;
const DEAD: u64 = 10;

const REPLICA: [Column; 9] = [
    Column::new("replica"),
    Column::new("version").rank(4),
    Column::new("schema").rank(7),
    Column::new("started").rank(5),
    Column::new("seen").rank(1),
    Column::new("seals with").rank(2),
    Column::new("keys").rank(3).flows(),
    Column::new("renewing").rank(6),
    Column::new("state"),
];

/// Show how the vault fares: replicas, what is due, pause, sealing key
#[derive(Debug, clap::Args)]
pub(super) struct Args;

pub(super) async fn run(_: &Args, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let status = context.client.get(&["status"], &[]).await?;
    if context.is_json() {
        return context.print_json(&status);
    }
    let times = context.times().with_now_from(&status, "now");
    context.print_table(&facts(&status, &times))?;
    context.print_line("")?;
    context.print_table(&replicas(&status, &times))
}

fn facts(status: &Value, times: &TimeFormatter) -> TextTable {
    let mut table = TextTable::plain();
    table.fact("answered by", text(status, "replica"));
    table.fact("time", times.absolute(status, "now"));
    table.fact("jobs", jobs(status, times));
    table.fact("due", format!("{}, as of {}", text(status, "due"), times.time_of_day(status, "now")));
    table.fact("renewal", renewal(&status["pause"], times));
    let promoted = text(status, "promoted_key");
    let sealing = if promoted.is_empty() { "the primary key of the keyring files".to_owned() } else { promoted };
    table.fact("sealing key", sealing);
    table.fact("re-sealing", resealing(&status["reseal"], times));
    table
}

/// How many jobs there are, all figures of one count: the states' where they were counted, or else the estimate of now.
fn jobs(status: &Value, times: &TimeFormatter) -> String {
    let count = &status["states"];
    let Value::Object(_) = count else {
        return format!("about {}, as of {}", text(status, "jobs"), times.time_of_day(status, "now"));
    };
    let counts = ["active", "suspended", "releasing"].map(|state| count[state].as_u64().unwrap_or(0));
    let [active, suspended, releasing] = counts;
    let figures =
        format!("{} ({active} active, {suspended} suspended, {releasing} releasing)", counts.iter().sum::<u64>());
    let moment = |value: &Value, member: &str| Timestamp::parse_rfc3339(value[member].as_str()?);
    match (moment(count, "counted_at"), moment(status, "now")) {
        (Some(counted), Some(now)) => {
            let ago = now.since(counted).as_secs();
            format!("{figures}, as of {}, {ago} s ago", times.time_of_day(count, "counted_at"))
        }
        _ => format!("{figures}, as counted within the last minute"),
    }
}

fn renewal(pause: &Value, times: &TimeFormatter) -> Cell {
    if pause.is_null() {
        return Cell::new("running", Tone::Good);
    }
    let (since, until) = (times.full(pause, "since"), times.full(pause, "until"));
    let told = format!("paused since {since} until {until} by {}: {}", text(pause, "by"), text(pause, "reason"));
    Cell::new(told, Tone::Doubtful)
}

/// How far a re-sealing has come, in a line.
pub(super) fn resealing(reseal: &Value, times: &TimeFormatter) -> String {
    let (key, seen, total) = (text(reseal, "key"), text(reseal, "seen"), text(reseal, "total"));
    let (resealed, failed) = (text(reseal, "resealed"), text(reseal, "failed"));
    match text(reseal, "state").as_str() {
        "running" => {
            format!("running: {seen} of about {total} records looked at, {resealed} sealed with {key}, {failed} failed")
        }
        "finished" => {
            let at = times.full(reseal, "finished_at");
            format!("finished at {at}: {seen} records looked at, {resealed} sealed with {key}, {failed} failed")
        }
        _ => "none so far".to_owned(),
    }
}

fn replicas(status: &Value, times: &TimeFormatter) -> TextTable {
    let mut table = TextTable::headed(&REPLICA);
    for replica in array_items(status, "replicas") {
        let (state, tone) = match times.seconds_since(replica, "seen_at") {
            silent if silent >= DEAD => ("dead", Tone::Wrong),
            silent if silent >= LATE => ("late", Tone::Doubtful),
            _ if !array_items(replica, "wrong").is_empty() => ("wrong key", Tone::Wrong),
            _ => ("alive", Tone::Good),
        };
        let seen = if matches!(state, "late" | "dead") { tone } else { Tone::Plain };
        table.row([
            text(replica, "id").into(),
            text(replica, "version").into(),
            text(replica, "schema").into(),
            times.relative(replica, "started_at").into(),
            Cell::new(times.relative(replica, "seen_at"), seen),
            text(replica, "primary").into(),
            text(replica, "keys").into(),
            text(replica, "renewing").into(),
            Cell::new(state, tone),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::terminal::style::OutputStyle;

    fn program() -> TimeFormatter {
        TimeFormatter::new(OutputStyle::plain(), Timestamp::default())
    }

    #[test]
    fn the_figures_of_a_line_are_of_one_count_and_say_of_when() {
        let mut status = json!({
            "now": "2027-01-31T12:03:12.345Z",
            "jobs": 5,
            "due": 2,
            "states": {"active": 12, "suspended": 1, "releasing": 0, "total": 13, "counted_at": "2027-01-31T12:03:04.1Z"},
        });
        let times = program();
        assert_eq!(jobs(&status, &times), "13 (12 active, 1 suspended, 0 releasing), as of 12:03:04, 8 s ago");
        let told = facts(&status, &times).shown(&times.style, false).text;
        assert!(told.lines().any(|line| line.starts_with("due") && line.ends_with("2, as of 12:03:12")), "{told}");

        status["states"] = json!({"active": 12, "suspended": 1, "releasing": 0});
        assert_eq!(
            jobs(&status, &times),
            "13 (12 active, 1 suspended, 0 releasing), as counted within the last minute"
        );
        status["states"] = Value::Null;
        assert_eq!(jobs(&status, &times), "about 5, as of 12:03:12");
    }

    #[test]
    fn a_replica_that_is_not_heard_of_is_marked() {
        let seen = |at: &str| json!({"id": at, "seen_at": format!("2027-01-31T12:00:{at}Z"), "keys": ["k1"]});
        let status = json!({
            "now": "2027-01-31T12:00:20Z",
            "replicas": [seen("20"), seen("16"), seen("15"), seen("11"), seen("10"), seen("06")],
        });
        let times = program().with_now_from(&status, "now");
        let told = replicas(&status, &times).shown(&times.style, false).text;
        let told_of: Vec<_> = told.lines().skip(1).filter_map(|line| line.split(' ').next_back()).collect();
        assert_eq!(told_of, ["alive", "alive", "late", "late", "dead", "dead"], "{told}");
    }

    #[test]
    fn a_pause_is_told_with_who_and_why_and_since_when_and_until_when() {
        let pause = json!({
            "now": "2027-01-31T12:02:00Z", "since": "2027-01-31T12:00:00Z", "until": "2027-01-31T12:10:00Z",
            "by": "alice", "reason": "Keycloak is being upgraded",
        });
        let told = |style: OutputStyle| {
            let times = TimeFormatter::new(style, Timestamp::default()).with_now_from(&pause, "now");
            let mut table = TextTable::plain();
            table.fact("renewal", renewal(&pause, &times));
            table.shown(&OutputStyle::plain(), false).text
        };
        assert_eq!(
            told(OutputStyle::terminal(80)),
            "renewal  paused since 2027-01-31 12:00:00 UTC (2 m ago) until 2027-01-31 12:10:00 UTC (in 8 m) by alice: \
             Keycloak is being upgraded"
        );
        assert!(
            told(OutputStyle::plain())
                .contains("since 2027-01-31T12:00:00Z until 2027-01-31T12:10:00Z by alice: Keycloak")
        );
    }
}
