//! `tokenvault admin events`

use std::time::Duration;

use serde_json::Value;

use super::super::{Failure, Stop};
use super::Desk;
use super::show::{moment, text};

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
    let mut left = args.count.unwrap_or(u64::MAX);
    let mut last = args.after.clone();
    // The first connection tells whether this can work at all.
    let mut answer = desk.client.stream(&query(args, last.as_deref())).await?;
    loop {
        let mut parser = Parser::default();
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => {
                    for event in parser.feed(&chunk)? {
                        last = Some(text(&event, "id"));
                        print(&event, desk)?;
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

fn print(event: &Value, desk: &mut Desk<'_, '_>) -> Result<(), Failure> {
    if desk.is_json() {
        desk.line(event)?;
    } else {
        let (tenant, job) = (text(event, "tenant"), text(event, "job_id"));
        let subject = if job.is_empty() { tenant } else { format!("{tenant}/{job}") };
        let (at, kind, reason) = (moment(event, "at"), text(event, "kind"), text(event, "reason"));
        let line = format!("{at:<20}  {kind:<15}  {subject}  {reason}");
        desk.line(line.trim_end())?;
    }
    // Somebody may be waiting for each line.
    Ok(desk.console.out.flush()?)
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

    use super::*;

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
    fn what_is_no_stream_is_given_up() {
        let endless = vec![b'x'; MAX_EVENT + 1];
        assert!(Parser::default().feed(&endless).is_err());
    }
}
