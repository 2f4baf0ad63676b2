//! Points in time for people: how far away they are, and in the local time zone.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokenvault_core::time::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A span in the unit in which it is two or more, rounded to the nearest: `90 s`, `2 m`, `80 m`, `23 h`, `3 d`.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let whole = |unit| seconds.saturating_add(unit / 2) / unit;
    match seconds {
        _ if seconds < 2 * MINUTE => format!("{seconds} s"),
        _ if seconds < 2 * HOUR => format!("{} m", whole(MINUTE)),
        _ if seconds < 2 * DAY => format!("{} h", whole(HOUR)),
        _ => format!("{} d", whole(DAY)),
    }
}

/// How far away a moment is: `in 2 m`, `3 h ago`, `now`.
pub(crate) fn away(at: Timestamp, now: Timestamp) -> String {
    match (at.since(now), now.since(at)) {
        (ahead, _) if ahead >= Duration::from_secs(1) => format!("in {}", span(ahead)),
        (_, behind) if behind >= Duration::from_secs(1) => format!("{} ago", span(behind)),
        _ => "now".to_owned(),
    }
}

/// Date, time of day and zone.
pub(crate) fn local(at: Timestamp, zone: &TimeZone) -> String {
    written(at, zone, "%Y-%m-%d %H:%M:%S %Z")
}

/// The date there.
pub(crate) fn date(at: Timestamp, zone: &TimeZone) -> String {
    written(at, zone, "%Y-%m-%d %Z")
}

/// The time of day there.
pub(crate) fn of_day(at: Timestamp, zone: &TimeZone) -> String {
    written(at, zone, "%H:%M:%S")
}

fn written(at: Timestamp, zone: &TimeZone, form: &str) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(millis) {
        Ok(instant) => instant.to_zoned(zone.clone()).strftime(form).to_string(),
        // Later than any calendar goes.
        Err(_) => at.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    #[test]
    fn a_moment_is_told_by_how_far_away_it_is() {
        let now = Timestamp::from_secs(1_000_000);
        let ahead = |seconds| away(now + Duration::from_secs(seconds), now);
        let behind = |seconds| away(now - Duration::from_secs(seconds), now);
        assert_eq!(ahead(0), "now");
        for (seconds, told) in [
            (1, "1 s"),
            (119, "119 s"),
            (120, "2 m"),
            (149, "2 m"),
            (150, "3 m"),
            (1_199, "20 m"),
            (7_140, "119 m"),
            (7_200, "2 h"),
            (86_399, "24 h"),
            (172_800, "2 d"),
            (864_000, "10 d"),
        ] {
            assert_eq!(ahead(seconds), format!("in {told}"));
            assert_eq!(behind(seconds), format!("{told} ago"));
        }
    }

    #[test]
    fn a_moment_is_told_in_the_zone_of_whoever_reads_it() {
        let at = Timestamp::parse_rfc3339("2027-01-31T23:30:00Z").unwrap();
        let zone = TimeZone::fixed(tz::offset(1));
        assert_eq!(local(at, &TimeZone::UTC), "2027-01-31 23:30:00 UTC");
        assert_eq!(local(at, &zone), "2027-02-01 00:30:00 +01");
        assert_eq!((date(at, &zone).as_str(), of_day(at, &zone).as_str()), ("2027-02-01 +01", "00:30:00"));
        assert_eq!(local(Timestamp::from_millis(u64::MAX), &zone), Timestamp::from_millis(u64::MAX).to_string());
    }
}
