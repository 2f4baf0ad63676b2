//! Whoever looks at a result: on a terminal a person, who is told times in words and by the clock on the wall. Everybody
//! else gets them as the vault answered them, in RFC 3339 and UTC.

use serde_json::Value;
use tokenvault_core::time::Timestamp;

use super::show::{moment, time_of_day};
use super::table::Cell;
use crate::terminal::look::{Look, Tone};
use crate::terminal::times::{away, date, local, of_day};

#[derive(Debug, Clone)]
pub(super) struct Eye {
    pub(super) look: Look,
    now: Timestamp,
}

impl Eye {
    /// With the vault's time.
    pub(super) fn new(look: Look, now: Timestamp) -> Self {
        Self { look, now }
    }

    /// At another time of the vault's, where a result tells it.
    pub(super) fn at(self, result: &Value, member: &str) -> Self {
        Self { now: instant(result, member).unwrap_or(self.now), ..self }
    }

    /// Whether a person looks.
    pub(super) fn is_person(&self) -> bool {
        self.look.is_terminal()
    }

    /// How far away a moment is; empty where it is absent.
    pub(super) fn brief(&self, value: &Value, member: &str) -> String {
        self.told(value, member, |at| away(at, self.now))
    }

    /// A moment, and how far away it is; empty where it is absent.
    pub(super) fn full(&self, value: &Value, member: &str) -> String {
        self.told(value, member, |at| format!("{} ({})", local(at, self.look.zone()), away(at, self.now)))
    }

    /// The clock on the wall.
    pub(super) fn clock(&self, value: &Value, member: &str) -> String {
        self.told(value, member, |at| local(at, self.look.zone()))
    }

    /// The time of day; empty where it is absent.
    pub(super) fn of_day(&self, value: &Value, member: &str) -> String {
        match instant(value, member).filter(|_| self.is_person()) {
            Some(at) => of_day(at, self.look.zone()),
            None => time_of_day(value, member),
        }
    }

    /// The date; empty where it is absent.
    pub(super) fn date(&self, value: &Value, member: &str) -> String {
        instant(value, member).map(|at| date(at, self.look.zone())).unwrap_or_default()
    }

    /// How far away a moment is by which something is there no longer.
    pub(super) fn until(&self, value: &Value, member: &str) -> Cell {
        let over = instant(value, member).is_some_and(|at| at <= self.now);
        Cell::new(self.brief(value, member), if over { Tone::Wrong } else { Tone::Plain })
    }

    fn told(&self, value: &Value, member: &str, words: impl Fn(Timestamp) -> String) -> String {
        match instant(value, member).filter(|_| self.is_person()) {
            Some(at) => words(at),
            None => moment(value, member),
        }
    }

    /// For how many seconds something has not been heard of.
    pub(super) fn silent_for(&self, value: &Value, member: &str) -> u64 {
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
        let person = Eye::new(Look::terminal(80).with(false, zone), Timestamp::default()).at(&value, "now");
        assert_eq!(person.brief(&value, "at"), "in 2 m");
        assert_eq!(person.full(&value, "at"), "2027-01-31 13:00:00 +01 (in 2 m)");
        assert_eq!(person.of_day(&value, "at"), "13:00:00");
        let program = Eye { look: Look::plain(), ..person };
        for told in [program.brief(&value, "at"), program.full(&value, "at"), program.clock(&value, "at")] {
            assert_eq!(told, "2027-01-31T12:00:00Z");
        }
        assert_eq!((program.of_day(&value, "at"), program.brief(&value, "none")), ("12:00:00".into(), String::new()));
    }
}
