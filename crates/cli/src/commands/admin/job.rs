//! A job as people read it: a row in a table of jobs, or everything that is known of it.

use serde_json::Value;

use super::answer::text;
use super::table::{Cell, Column, TextTable};
use super::time_formatter::TimeFormatter;
use crate::terminal::style::Tone;

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
pub(super) fn jobs_table(jobs: &[Value], times: &TimeFormatter) -> TextTable {
    let mut table = TextTable::headed(&COLUMNS);
    for job in jobs {
        let (tone, is_over) = (state_tone(job), is_over(job));
        // A job that is over has no use for its expiries: they are not marked.
        let until = |member| if is_over { times.relative(job, member).into() } else { times.expiry(job, member) };
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

/// The colour of a job's state.
fn state_tone(job: &Value) -> Tone {
    match text(job, "state").as_str() {
        "active" => Tone::Good,
        "suspended" => Tone::Doubtful,
        _ if is_expected(&text(job, "reason")) => Tone::Faint,
        _ => Tone::Wrong,
    }
}

/// Whether the job has no token any more.
pub(super) fn is_over(job: &Value) -> bool {
    matches!(text(job, "state").as_str(), "releasing" | "ended")
}

/// Whether a job that ended for this reason was meant to end.
pub(super) fn is_expected(reason: &str) -> bool {
    matches!(reason, "released" | "expired" | "revoked")
}

/// All that is known of it.
pub(super) fn job_facts(job: &Value, times: &TimeFormatter) -> TextTable {
    let mut table = TextTable::plain();
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
        let tone = if matches!(member, "state" | "reason") { state_tone(job) } else { Tone::Plain };
        table.fact(name, Cell::new(text(job, member), tone));
    }
    table.fact("session", session(&job["session"]));
    table.fact("watched", session(&job["watched_session"]));
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
        table.fact(name, times.full(job, member));
    }
    let failing = job["failures"].as_u64().is_some_and(|failures| failures > 0) && !is_over(job);
    table.fact("failures", Cell::new(text(job, "failures"), if failing { Tone::Doubtful } else { Tone::Plain }));
    table.fact("spares", text(job, "spares"));
    table.fact("sealed with", text(job, "sealed_with"));
    doubt_and_spend(&mut table, job);
    table
}

/// A Keycloak session; empty where there is none.
fn session(session: &Value) -> String {
    if !session.is_object() {
        return String::new();
    }
    let (sid, client, incarnation) = (text(session, "sid"), text(session, "client"), text(session, "incarnation"));
    format!("{sid} of {client}, its life {incarnation}")
}

/// What is not certain about the job at the moment.
fn doubt_and_spend(table: &mut TextTable, job: &Value) {
    if let Some(seconds) = job["doubted_for"].as_u64() {
        let doubt = format!("Keycloak has been saying for {seconds} s that its session is over");
        table.fact("in doubt", Cell::new(doubt, Tone::Doubtful));
    }
    if job["spend_open"] == true {
        table.fact("spend", Cell::new("sent, and its answer is not known yet", Tone::Doubtful));
    }
}
