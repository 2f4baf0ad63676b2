//! What the replicas' logs tell. A line counts only if it can be read whole: one that a kill has torn apart is the last of
//! its process, which did nothing after it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use serde_json::Value;

use super::REPLICAS;
use super::stage::Stage;
use crate::harness::Result;

/// The steps that bring a new pair.
const RENEWING: [&str; 3] = ["exchange", "spend", "impersonate"];
/// Why a renewal is given up by who has held the record for too long.
const OVERTAKEN: [&str; 2] = ["the lease was lost", "the record changed in the meantime"];

/// An answer to a spend, as the process that got it noted it before it did anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answered {
    /// Whose process it was.
    pub replica: usize,
    /// When, in milliseconds since the epoch.
    pub at: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Told {
    /// The answers to spends, by job.
    pub answered: HashMap<String, Vec<Answered>>,
    /// New pairs that each replica came by.
    pub renewals: [u64; REPLICAS],
    /// Renewals that were given up, since another replica had taken the record over.
    pub leases_lost: usize,
}

/// Reads all of them.
pub fn read(stage: &mut Stage) -> Result<Told> {
    let mut told = Told::default();
    for (number, replica) in stage.vault.replicas().iter_mut().enumerate() {
        for line in BufReader::new(File::open(replica.process().log_path())?).split(b'\n') {
            told.hear(number, &String::from_utf8_lossy(&line?));
        }
    }
    Ok(told)
}

impl Told {
    fn hear(&mut self, replica: usize, line: &str) {
        let renewed = line.contains(r#""outcome":"ok""#);
        if !renewed && !OVERTAKEN.iter().any(|reason| line.contains(reason)) {
            return;
        }
        let Ok(fields) = serde_json::from_str::<Value>(line) else { return };
        let step = fields["step"].as_str().unwrap_or_default();
        if !renewed {
            self.leases_lost += usize::from(fields["message"] == "the renewal was given up");
        } else if RENEWING.contains(&step) {
            self.renewals[replica] += 1;
        }
        let at = fields["timestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let at = at.and_then(|at| u64::try_from(at.as_millisecond()).ok());
        if let (true, "spend", Some(job), Some(at)) = (renewed, step, fields["span"]["job"].as_str(), at) {
            self.answered.entry(job.to_owned()).or_default().push(Answered { replica, at });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_new_pairs_and_lost_leases_are_heard_and_torn_lines_are_not() {
        let line = |rest: &str| format!(r#"{{"timestamp":"1970-01-01T00:00:01Z",{rest}"span":{{"job":"j"}}}}"#);
        let mut told = Told::default();
        told.hear(0, &line(r#""step":"exchange","outcome":"ok","#));
        told.hear(1, &line(r#""step":"spend","outcome":"ok","#));
        told.hear(1, &line(r#""step":"spend","outcome":"unknown","#));
        told.hear(1, &line(r#""step":"spend","outcome":"ok","#)[..70]);
        told.hear(2, &line(r#""message":"the renewal was given up","reason":"the lease was lost","#));
        assert_eq!((told.renewals, told.leases_lost), ([1, 1, 0], 1));
        assert_eq!(told.answered["j"], [Answered { replica: 1, at: 1000 }]);
    }
}
