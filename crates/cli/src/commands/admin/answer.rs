//! Members of the admin API's answers, as text for people. Nothing here may let an answer control the terminal.

use serde_json::Value;

/// A member as a text, empty where it is absent; a list with commas. Control characters, which could play with the
/// terminal, are shown as dots.
pub(super) fn text(value: &Value, member: &str) -> String {
    plain(&value[member])
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { '·' } else { c }).collect(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// A point in time to the second, empty where it is absent.
pub(super) fn moment(value: &Value, member: &str) -> String {
    let text = text(value, member);
    match text.split_once('.') {
        Some((seconds, _)) if text.ends_with('Z') => format!("{seconds}Z"),
        _ => text,
    }
}

/// The time of day of a point in time, to the second; empty where it is absent.
pub(super) fn time_of_day(value: &Value, member: &str) -> String {
    moment(value, member).get(11..19).unwrap_or_default().to_owned()
}

/// The items of a member that is an array; none where it is absent or is no array.
pub(super) fn array_items<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map_or(&[], Vec::as_slice)
}

/// So many of them, in words: `1 job`, `3 jobs`.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_could_play_with_the_terminal_is_not_shown() {
        let value = json!({"reason": "a\u{1b}[2Jb\nc", "many": ["x", "y\u{7}"], "n": 3});
        assert_eq!(text(&value, "reason"), "a·[2Jb·c");
        assert_eq!(
            (text(&value, "many"), text(&value, "n"), text(&value, "no")),
            ("x, y·".into(), "3".into(), String::new())
        );
    }

    #[test]
    fn moments_are_shown_to_the_second() {
        let value = json!({"a": "2026-01-02T03:04:05.678Z", "b": "2026-01-02T03:04:05Z"});
        assert_eq!(
            (moment(&value, "a"), moment(&value, "b")),
            ("2026-01-02T03:04:05Z".into(), "2026-01-02T03:04:05Z".into())
        );
    }
}
