//! A job as people are shown it: a row among others, or all that is known of it.

use serde_json::Value;

use super::eye::Eye;
use super::renewal;
use super::show::text;
use super::table::{Cell, Column, Table};
use crate::terminal::look::Tone;

const COLUMNS: [Column; 10] = [
    Column::new("tenant"),
    Column::new("job"),
    Column::new("user").rank(4),
    Column::new("state"),
    Column::new("reason").rank(1),
    Column::new("acquisition").rank(6),
    Column::new("registrar").rank(5),
    Column::new("gen").rank(7),
    Column::new("token until").short("token").rank(3),
    Column::new("ends").rank(2),
];

/// Jobs for people.
pub(super) fn jobs_table(jobs: &[Value], eye: &Eye) -> Table {
    let mut table = Table::headed(&COLUMNS);
    for job in jobs {
        let (tone, is_over) = (tone(job), renewal::is_over(job));
        // Nobody waits for what a job had that is over.
        let until = |member| if is_over { eye.brief(job, member).into() } else { eye.until(job, member) };
        table.row([
            text(job, "tenant").into(),
            text(job, "job_id").into(),
            text(job, "user_id").into(),
            Cell::new(text(job, "state"), tone),
            Cell::new(text(job, "reason"), tone),
            text(job, "acquisition").into(),
            text(job, "registrar").into(),
            text(job, "generation").into(),
            until("access_token_expires_at"),
            until("expires_at"),
        ]);
    }
    table
}

/// How a job fares.
fn tone(job: &Value) -> Tone {
    match text(job, "state").as_str() {
        "active" => Tone::Good,
        "suspended" => Tone::Doubtful,
        _ if is_expected(&text(job, "reason")) => Tone::Faint,
        _ => Tone::Wrong,
    }
}

/// Whether it is an end that somebody wanted.
pub(super) fn is_expected(reason: &str) -> bool {
    matches!(reason, "released" | "expired" | "revoked")
}

/// All that is known of it.
pub(super) fn facts(job: &Value, eye: &Eye) -> Table {
    let session = |member: &str| match &job[member] {
        Value::Object(_) => {
            let session = &job[member];
            let (sid, client, life) = (text(session, "sid"), text(session, "client"), text(session, "incarnation"));
            format!("{sid} of {client}, its life {life}")
        }
        _ => String::new(),
    };
    let mut table = Table::plain();
    for (name, member) in [
        ("tenant", "tenant"),
        ("job", "job_id"),
        ("state", "state"),
        ("reason", "reason"),
        ("user", "user_id"),
        ("subject", "subject"),
        ("registrar", "registrar"),
        ("readers", "readers"),
        ("parent", "parent_job_id"),
        ("acquisition", "acquisition"),
        ("on logout", "on_logout"),
        ("generation", "generation"),
    ] {
        let tone = if matches!(member, "state" | "reason") { tone(job) } else { Tone::Plain };
        table.fact(name, Cell::new(text(job, member), tone));
    }
    table.fact("session", session("session"));
    table.fact("watched", session("watched_session"));
    for (name, member) in [
        ("registered", "created_at"),
        ("token until", "access_token_expires_at"),
        ("renewal at", "renew_at"),
        ("next look", "due_at"),
        ("in hand until", "leased_until"),
        ("session until", "session_expires_at"),
        ("ends", "expires_at"),
        ("kept until", "keep_until"),
    ] {
        table.fact(name, eye.full(job, member));
    }
    let failing = job["failures"].as_u64().is_some_and(|failures| failures > 0) && !renewal::is_over(job);
    table.fact("failures", Cell::new(text(job, "failures"), if failing { Tone::Doubtful } else { Tone::Plain }));
    table.fact("spares", text(job, "spares"));
    table.fact("sealed with", text(job, "sealed_with"));
    if let Some(seconds) = job["doubted_for"].as_u64() {
        let doubt = format!("Keycloak has been saying for {seconds} s that its session is over");
        table.fact("in doubt", Cell::new(doubt, Tone::Doubtful));
    }
    if job["spend_open"] == true {
        table.fact("spend", Cell::new("sent, and its answer is not known yet", Tone::Doubtful));
    }
    table
}
