//! What happened, in order: hashed always, remembered for a while, and written down in full where somebody watches.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::dice::mix;

/// How many events are remembered.
const REMEMBERED: usize = 60;

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Virtual time in milliseconds since the simulation's beginning.
    pub at: u64,
    /// Which process (counted over all replicas' lives); `None` for what happens in the world.
    pub process: Option<usize>,
    /// What was done.
    pub what: &'static str,
    /// What befell it, or what came of it.
    pub how: &'static str,
    /// A number that belongs to it.
    pub number: u64,
}

/// The events of one simulation.
#[derive(Debug, Default)]
pub struct Trace {
    hash: u64,
    last: VecDeque<Event>,
    /// Where every event is written as a line; not at all if `None`.
    pub full: Option<String>,
}

impl Trace {
    /// An empty one; `full`: whether every event is written down.
    pub fn new(full: bool) -> Self {
        Self { full: full.then(String::new), ..Self::default() }
    }

    /// Notes an event.
    pub fn note(&mut self, event: Event) {
        let process = event.process.map_or(u64::MAX, |process| process as u64);
        for word in [event.at, process, code(event.what), code(event.how), event.number] {
            self.hash = mix(self.hash ^ word).wrapping_add(word);
        }
        if let Some(full) = &mut self.full {
            let _ = writeln!(full, "{}", line(&event));
        }
        if self.last.len() == REMEMBERED {
            self.last.pop_front();
        }
        self.last.push_back(event);
    }

    /// A remark for whoever reads the trace in full; no part of the hash.
    pub fn remark(&mut self, text: impl FnOnce() -> String) {
        if let Some(full) = &mut self.full {
            let _ = writeln!(full, "             {}", text());
        }
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The last events, as lines.
    pub fn last(&self) -> Vec<String> {
        self.last.iter().map(line).collect()
    }
}

fn line(event: &Event) -> String {
    let Event { at, process, what, how, number } = event;
    let who = process.map_or_else(|| "world".to_owned(), |process| format!("p{process}"));
    format!("{:>9}.{:03} {who:<6} {what} {how} {number}", at / 1000, at % 1000)
}

/// FNV-1a of a name: the same in every build.
fn code(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
