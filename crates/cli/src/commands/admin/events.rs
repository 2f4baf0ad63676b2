//! `tokenvault admin events`

use std::time::Duration;

use serde_json::Value;

use super::answer::text;
use super::context::CommandContext;
use super::job::is_expected;
use super::time_formatter::TimeFormatter;
use crate::console::StopSignals;
use crate::failure::Failure;
use crate::terminal::style::{Tone, columns, wrapped};

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

pub(super) async fn run(args: &Args, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let mut stop = StopSignals::listen()?;
    tokio::select! {
        watched = watch(args, context) => watched,
        () = stop.received() => Ok(()),
    }
}

async fn watch(args: &Args, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let mut printer = EventPrinter::default();
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut last = args.after.clone();
    // A first connection that fails ends the command.
    let mut answer = context.client.stream(&query(args, last.as_deref())).await?;
    loop {
        let mut parser = EventStreamParser::default();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    let events = parser.feed(&chunk)?;
                    printer.make_room(&events);
                    for event in events {
                        last = Some(text(&event, "id"));
                        print(&event, &mut printer, context)?;
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
        answer = reconnect(args, last.as_deref(), context).await?;
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

/// Connects again until the vault answers. A refusal ends the command.
async fn reconnect(
    args: &Args,
    last: Option<&str>,
    context: &mut CommandContext<'_, '_>,
) -> Result<reqwest::Response, Failure> {
    let mut told = false;
    loop {
        tokio::time::sleep(PAUSE).await;
        match context.client.stream(&query(args, last)).await {
            Err(failure) if failure.is_unreachable() => {
                if !told {
                    told = true;
                    let address = context.client.address().clone();
                    drop(writeln!(context.console.err, "tokenvault: {address}: cannot be reached; trying again"));
                }
            }
            answered => return answered,
        }
    }
}

fn print(event: &Value, printer: &mut EventPrinter, context: &mut CommandContext<'_, '_>) -> Result<(), Failure> {
    let told = if context.is_json() { event.to_string() } else { printer.line(event, &context.times()) };
    writeln!(context.console.out, "{told}")?;
    // A reader may be waiting for each line.
    Ok(context.console.out.flush()?)
}

/// The widest kind of event.
const KIND: usize = 15;

/// Writes events as lines below each other.
#[derive(Default)]
struct EventPrinter {
    /// The widest subject so far.
    subject: usize,
    /// The day of the last line.
    day: String,
}

impl EventPrinter {
    /// Makes the column of the subjects wide enough for these events. Called before their lines are written.
    fn make_room(&mut self, events: &[Value]) {
        let widest = events.iter().map(|event| columns(&subject(event))).max();
        self.subject = self.subject.max(widest.unwrap_or(0));
    }

    /// The next line. People get the time of day, below its date, and what there is no room for below its line.
    fn line(&mut self, event: &Value, times: &TimeFormatter) -> String {
        let (subject, kind, reason) = (subject(event), text(event, "kind"), text(event, "reason"));
        let place = self.subject;
        let Some(width) = times.style.width() else {
            let line = format!("{:<20}  {kind:<KIND$}  {subject:<place$}  {reason}", times.absolute(event, "at"));
            return line.trim_end().to_owned();
        };
        let day = times.date(event, "at");
        let mut line = String::new();
        if day != self.day {
            line = format!("{}\n", times.style.paint(Tone::Head, &day));
            self.day = day;
        }
        let kind = times.style.paint(tone(&kind, &reason), &format!("{kind:<KIND$}"));
        let head = format!("{line}{}  {kind}", times.time_of_day(event, "at"));
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
struct EventStreamParser {
    line: Vec<u8>,
    data: String,
}

impl EventStreamParser {
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
    use crate::terminal::style::OutputStyle;

    #[test]
    fn events_are_found_however_the_stream_is_cut() {
        let stream = ": keep-alive\n\nid: 1-0\nevent: renewed\ndata: {\"id\":\"1-0\",\"kind\":\"renewed\"}\n\n\
                      data: {\"id\":\ndata: \"2-0\"}\r\n\r\ndata: {\"id\":\"3";
        let expected = vec![json!({"id": "1-0", "kind": "renewed"}), json!({"id": "2-0"})];
        for size in [1, 7, stream.len()] {
            let mut parser = EventStreamParser::default();
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
        let told = |style: OutputStyle| {
            let (mut printer, times) = (EventPrinter::default(), TimeFormatter::new(style, Timestamp::default()));
            printer.make_room(&events);
            events.iter().map(|event| printer.line(event, &times)).collect::<Vec<_>>().join("\n")
        };
        let wide = told(OutputStyle::terminal(140));
        let expected = format!(
            "2027-01-31 UTC\n12:00:00  registered       diku/{job}\n12:00:00  ended            diku/b{:35}  session",
            ""
        );
        assert!(wide.starts_with(&expected), "{wide}");
        let narrow = told(OutputStyle::terminal(80));
        assert!(narrow.lines().all(|line| columns(line) <= 80), "{narrow}");
        assert!(narrow.contains(&format!("diku/b\n{:27}session_not_active\n", "")), "{narrow}");
        assert!(narrow.contains(&format!("upgraded, and\n{:27}nobody", "")), "{narrow}");
        let piped = told(OutputStyle::plain());
        assert_eq!(piped.lines().count(), 3, "{piped}");
        assert!(piped.starts_with(&format!("2027-01-31T12:00:00Z  registered       diku/{job}\n")), "{piped}");
        let at = |word: &str| piped.lines().find_map(|line| line.find(word));
        assert_eq!(at("session_not_active"), at("by alice"), "{piped}");
    }

    #[test]
    fn what_is_no_stream_is_given_up() {
        let endless = vec![b'x'; MAX_EVENT + 1];
        assert!(EventStreamParser::default().feed(&endless).is_err());
    }
}
