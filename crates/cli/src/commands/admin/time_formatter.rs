//! Times in results. A person at a terminal reads them in words and in the local time zone. A program reads them as the vault
//! answered them: RFC 3339 in UTC.

use serde_json::Value;
use tokenvault_core::time::Timestamp;

use super::answer::{moment, time_of_day};
use super::table::Cell;
use crate::terminal::style::{OutputStyle, Tone};
use crate::terminal::times::{away, date, local, of_day};

/// Formats the times of one result.
#[derive(Debug, Clone)]
pub(super) struct TimeFormatter {
    pub(super) style: OutputStyle,
    now: Timestamp,
}

impl TimeFormatter {
    /// With the vault's time.
    pub(super) fn new(style: OutputStyle, now: Timestamp) -> Self {
        Self { style, now }
    }

    /// Takes the present time from a member of the result, if it is there.
    pub(super) fn with_now_from(self, result: &Value, member: &str) -> Self {
        Self { now: instant(result, member).unwrap_or(self.now), ..self }
    }

    /// Whether a person reads the result.
    pub(super) fn is_for_person(&self) -> bool {
        self.style.is_terminal()
    }

    /// For a person, how far away a time is: `in 2 m`, `3 h ago`. For a program, the time itself. Empty where it is absent.
    pub(super) fn relative(&self, value: &Value, member: &str) -> String {
        self.formatted(value, member, |at| away(at, self.now))
    }

    /// A moment, and how far away it is; empty where it is absent.
    pub(super) fn full(&self, value: &Value, member: &str) -> String {
        self.formatted(value, member, |at| format!("{} ({})", local(at, self.style.zone()), away(at, self.now)))
    }

    /// A moment in the local time zone; empty where it is absent.
    pub(super) fn absolute(&self, value: &Value, member: &str) -> String {
        self.formatted(value, member, |at| local(at, self.style.zone()))
    }

    /// The time of day; empty where it is absent.
    pub(super) fn time_of_day(&self, value: &Value, member: &str) -> String {
        match instant(value, member).filter(|_| self.is_for_person()) {
            Some(at) => of_day(at, self.style.zone()),
            None => time_of_day(value, member),
        }
    }

    /// The date; empty where it is absent.
    pub(super) fn date(&self, value: &Value, member: &str) -> String {
        instant(value, member).map(|at| date(at, self.style.zone())).unwrap_or_default()
    }

    /// How far away an expiry is; red where it has passed.
    pub(super) fn expiry(&self, value: &Value, member: &str) -> Cell {
        let over = instant(value, member).is_some_and(|at| at <= self.now);
        Cell::new(self.relative(value, member), if over { Tone::Wrong } else { Tone::Plain })
    }

    fn formatted(&self, value: &Value, member: &str, words: impl Fn(Timestamp) -> String) -> String {
        match instant(value, member).filter(|_| self.is_for_person()) {
            Some(at) => words(at),
            None => moment(value, member),
        }
    }

    /// How many seconds ago a moment was; 0 where it is absent.
    pub(super) fn seconds_since(&self, value: &Value, member: &str) -> u64 {
        instant(value, member).map_or(0, |at| self.now.since(at).as_secs())
    }
}

fn instant(value: &Value, member: &str) -> Option<Timestamp> {
    Timestamp::parse_rfc3339(value[member].as_str()?)
}

#[cfg(test)]
mod tests {
    use jiff::tz::{self, TimeZone};
    use serde_json::json;

    use super::*;

    #[test]
    fn people_are_told_times_in_words_and_others_as_they_were_answered() {
        let value = json!({"at": "2027-01-31T12:00:00.678Z", "now": "2027-01-31T11:58:00Z"});
        let zone = TimeZone::fixed(tz::offset(1));
        let person = TimeFormatter::new(OutputStyle::terminal(80).with(false, zone), Timestamp::default())
            .with_now_from(&value, "now");
        assert_eq!(person.relative(&value, "at"), "in 2 m");
        assert_eq!(person.full(&value, "at"), "2027-01-31 13:00:00 +01 (in 2 m)");
        assert_eq!(person.time_of_day(&value, "at"), "13:00:00");
        let program = TimeFormatter { style: OutputStyle::plain(), ..person };
        for told in [program.relative(&value, "at"), program.full(&value, "at"), program.absolute(&value, "at")] {
            assert_eq!(told, "2027-01-31T12:00:00Z");
        }
        assert_eq!(
            (program.time_of_day(&value, "at"), program.relative(&value, "none")),
            ("12:00:00".into(), String::new())
        );
    }
}
