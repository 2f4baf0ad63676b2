//! `tokenvault admin events`

use std::time::Duration;

use serde_json::Value;

use super::Desk;
use super::eye::Eye;
use super::job::is_expected;
use super::show::text;
use crate::console::Stop;
use crate::failure::Failure;
use crate::terminal::look::{Tone, columns, wrapped};

/// Between a connection that broke and the next one.
const PAUSE: Duration = Duration::from_secs(1);
/// An event longer than this is not a vault's.
const MAX_EVENT: usize = 64 * 1024;

/// Watch what happens, as it happens
///
/// A line for each registration, renewal, suspension and end, and for each act of an operator's; with `--output json` an object
/// a line. A connection that breaks is made again, and goes on where it was. Ends with Ctrl-C.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Start behind this event
    #[arg(long, value_name = "ID", conflicts_with = "recent")]
    after: Option<String>,
    /// Start with the last so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    recent: u16,
    /// End after so many
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// End where nothing more has happened yet
    #[arg(long)]
    no_follow: bool,
}

pub(super) async fn run(args: &Args, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let mut stop = Stop::listen()?;
    tokio::select! {
        watched = watch(args, desk) => watched,
        () = stop.asked() => Ok(()),
    }
}

async fn watch(args: &Args, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let mut sheet = Sheet::default();
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut last = args.after.clone();
    // The first connection tells whether this can work at all.
    let mut answer = desk.client.stream(&query(args, last.as_deref())).await?;
    loop {
        let mut parser = Parser::default();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let events = parser.feed(&chunk)?;
                    sheet.make_room(&events);
                    for event in events {
                        last = Some(text(&event, "id"));
                        print(&event, &mut sheet, desk)?;
                        left -= 1;
                        if left == 0 {
                            return Ok(());
                        }
                    }
                }
                Ok(None) if args.no_follow => return Ok(()),
                Ok(None) => break,
                Err(error) => {
                    tracing::debug!(%error, "the stream broke");
                    break;
                }
            }
        }
        answer = again(args, last.as_deref(), desk).await?;
    }
}

fn query(args: &Args, last: Option<&str>) -> Vec<(&'static str, String)> {
    let mut query = Vec::new();
    match last {
        Some(last) => query.push(("after", last.to_owned())),
        None => query.push(("recent", args.recent.to_string())),
    }
    if args.no_follow {
        query.push(("follow", "false".to_owned()));
    }
    query
}

/// Connects until somebody answers. Somebody who refuses has the last word.
async fn again(args: &Args, last: Option<&str>, desk: &mut Desk<'_, '_>) -> Result<reqwest::Response, Failure> {
    let mut told = false;
    loop {
        tokio::time::sleep(PAUSE).await;
        match desk.client.stream(&query(args, last)).await {
            Err(failure) if failure.is_unreachable() => {
                if !told {
                    told = true;
                    let address = desk.client.address().clone();
                    drop(writeln!(desk.console.err, "tokenvault: {address}: cannot be reached; trying again"));
                }
            }
            answered => return answered,
        }
    }
}

fn print(event: &Value, sheet: &mut Sheet, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    let told = if desk.is_json() { event.to_string() } else { sheet.line(event, &desk.eye()) };
    writeln!(desk.console.out, "{told}")?;
    // Somebody may be waiting for each line.
    Ok(desk.console.out.flush()?)
}

/// The widest kind of event.
const KIND: usize = 15;

/// What was written so far, as far as the next line is written below it.
#[derive(Default)]
struct Sheet {
    /// How wide what events are about was at most.
    subject: usize,
    /// The day of the last line.
    day: String,
}

impl Sheet {
    /// Before lines are written: so much room do these want.
    fn make_room(&mut self, events: &[Value]) {
        let widest = events.iter().map(|event| columns(&subject(event))).max();
        self.subject = self.subject.max(widest.unwrap_or(0));
    }

    /// The next line. People get the time of day, below its date, and what there is no room for below its line.
    fn line(&mut self, event: &Value, eye: &Eye) -> String {
        let (subject, kind, reason) = (subject(event), text(event, "kind"), text(event, "reason"));
        let place = self.subject;
        let Some(width) = eye.look.width() else {
            let line = format!("{:<20}  {kind:<KIND$}  {subject:<place$}  {reason}", eye.clock(event, "at"));
            return line.trim_end().to_owned();
        };
        let day = eye.date(event, "at");
        let mut line = String::new();
        if day != self.day {
            line = format!("{}\n", eye.look.paint(Tone::Head, &day));
            self.day = day;
        }
        let kind = eye.look.paint(tone(&kind, &reason), &format!("{kind:<KIND$}"));
        let head = format!("{line}{}  {kind}", eye.of_day(event, "at"));
        let start = columns("00:00:00") + 2 + KIND + 2;
        let told = if subject.is_empty() {
            wrapped(&format!("{head}  {reason}"), width, start)
        } else if start + place + 2 + columns(&reason) <= width {
            format!("{head}  {subject:<place$}  {reason}")
        } else {
            let below = format!("{:start$}{reason}", "");
            format!("{head}  {subject}\n{}", wrapped(&below, width, start))
        };
        told.trim_end().to_owned()
    }
}

/// What an event is about.
fn subject(event: &Value) -> String {
    let (tenant, job) = (text(event, "tenant"), text(event, "job_id"));
    if job.is_empty() { tenant } else { format!("{tenant}/{job}") }
}

fn tone(kind: &str, reason: &str) -> Tone {
    match kind {
        "ended" if is_expected(reason) => Tone::Faint,
        "ended" => Tone::Wrong,
        "suspended" | "paused" => Tone::Doubtful,
        _ => Tone::Plain,
    }
}

/// Takes the events out of a stream (WHATWG HTML, "Server-sent events"). Only the data is of interest: it says the same as
/// the other fields.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    data: String,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Value>, Failure> {
        let mut events = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let line = String::from_utf8_lossy(&line);
                self.take(line.trim_end_matches('\r'), &mut events);
            } else {
                self.line.push(*byte);
            }
            if self.line.len() + self.data.len() > MAX_EVENT {
                return Err(Failure::new("the answer is not a stream of events"));
            }
        }
        Ok(events)
    }

    fn take(&mut self, line: &str, events: &mut Vec<Value>) {
        if line.is_empty() {
            events.extend(serde_json::from_str(&std::mem::take(&mut self.data)).ok());
        } else if let Some(data) = line.strip_prefix("data:") {
            self.data.push_str(data);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokenvault_core::time::Timestamp;

    use super::*;
    use crate::terminal::look::Look;

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let stream = ": keep-alive\n\nid: 1-0\nevent: renewed\ndata: {\"id\":\"1-0\",\"kind\":\"renewed\"}\n\n\
                      data: {\"id\":\ndata: \"2-0\"}\r\n\r\ndata: {\"id\":\"3";
        let expected = vec![json!({"id": "1-0", "kind": "renewed"}), json!({"id": "2-0"})];
        for size in [1, 7, stream.len()] {
            let mut parser = Parser::default();
            let chunks = stream.as_bytes().chunks(size);
            let found: Vec<Value> = chunks.flat_map(|chunk| parser.feed(chunk).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn lines_stand_below_each_other_and_what_has_no_room_below_its_own() {
        let job = "4b1cf0de-3c5f-4c0e-9a51-0a4de0a3f9b4";
        let event = |kind: &str, job: Option<&str>, reason: Option<&str>| json!({"at": "2027-01-31T12:00:00.5Z", "kind": kind, "tenant": job.map(|_| "diku"), "job_id": job, "reason": reason});
        let events = [
            event("registered", Some(job), None),
            event("ended", Some("b"), Some("session_not_active")),
            event("paused", None, Some("by alice for 10 m: Keycloak is being upgraded, and nobody knows for how long")),
        ];
        let told = |look: Look| {
            let (mut sheet, eye) = (Sheet::default(), Eye::new(look, Timestamp::default()));
            sheet.make_room(&events);
            events.iter().map(|event| sheet.line(event, &eye)).collect::<Vec<_>>().join("\n")
        };
        let wide = told(Look::terminal(140));
        let expected = format!(
            "2027-01-31 UTC\n12:00:00  registered       diku/{job}\n12:00:00  ended            diku/b{:35}  session",
            ""
        );
        assert!(wide.starts_with(&expected), "{wide}");
        let narrow = told(Look::terminal(80));
        assert!(narrow.lines().all(|line| columns(line) <= 80), "{narrow}");
        assert!(narrow.contains(&format!("diku/b\n{:27}session_not_active\n", "")), "{narrow}");
        assert!(narrow.contains(&format!("upgraded, and\n{:27}nobody", "")), "{narrow}");
        let piped = told(Look::plain());
        assert_eq!(piped.lines().count(), 3, "{piped}");
        assert!(piped.starts_with(&format!("2027-01-31T12:00:00Z  registered       diku/{job}\n")), "{piped}");
        let at = |word: &str| piped.lines().find_map(|line| line.find(word));
        assert_eq!(at("session_not_active"), at("by alice"), "{piped}");
    }

    #[test]
    fn what_is_no_stream_is_given_up() {
        let endless = vec![b'x'; MAX_EVENT + 1];
        assert!(Parser::default().feed(&endless).is_err());
    }
}
