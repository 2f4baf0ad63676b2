//! Reading tables strictly: an unknown key is an error that names the nearest known one, and no error repeats a value
//! (somebody may have put a secret there).

use figment::error::{Actual, Error, Kind};
use figment::value::{Dict, Value};
use serde::de::DeserializeOwned;

use super::error::Finding;

/// The keys a table may have: asked of the type itself by giving it one that it cannot know.
pub(crate) fn known_keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let probe = Value::from(Dict::from([("\u{0}".to_owned(), Value::from(0))]));
    match probe.deserialize::<T>() {
        Err(Error { kind: Kind::UnknownField(_, known), .. }) => known,
        _ => &[],
    }
}

/// A finding for each key of `table` that `T` does not know.
pub(crate) fn unknown_keys<T: DeserializeOwned>(table: &Dict, place: &dyn Fn(&str) -> String) -> Vec<Finding> {
    let known = known_keys::<T>();
    let unknown = table.keys().filter(|key| !known.contains(&key.as_str()));
    unknown.map(|key| Finding::new(place(key), unknown_key(key, known))).collect()
}

/// What to say of a key that is not known.
pub(crate) fn unknown_key(key: &str, known: &[&str]) -> String {
    let as_file = format!("{key}_file");
    if known.contains(&as_file.as_str()) {
        return format!("secrets are never written inline: put it into a file and name that with `{as_file}`");
    }
    let nearest =
        known.iter().map(|known| (strsim::jaro_winkler(key, known), *known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((likeness, nearest)) if likeness > 0.75 => format!("unknown key; did you mean `{nearest}`?"),
        _ => format!("unknown key; known here: {}", known.join(", ")),
    }
}

/// Reads a table; call [`unknown_keys`] first, this stops at the first problem.
pub(crate) fn read<T: DeserializeOwned>(table: &Dict, place: &dyn Fn(&str) -> String) -> Result<T, Finding> {
    Value::from(table.clone()).deserialize().map_err(|error| finding(&error, place))
}

fn finding(error: &Error, place: &dyn Fn(&str) -> String) -> Finding {
    let path = error.path.join(".");
    match &error.kind {
        Kind::UnknownField(key, known) => {
            Finding::new(place(&[path.as_str(), key.as_str()].join(".")), unknown_key(key, known))
        }
        Kind::MissingField(key) => {
            let key = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            Finding::new(place(&key), "is missing")
        }
        Kind::InvalidType(actual, expected) | Kind::InvalidValue(actual, expected) => {
            Finding::new(place(&path), format!("expected {expected}, found {}", describe(actual)))
        }
        Kind::UnknownVariant(_, known) => Finding::new(place(&path), format!("must be one of {}", known.join(", "))),
        Kind::Message(message) => Finding::new(place(&path), message.clone()),
        _ => Finding::new(place(&path), "is not a value this key can have"),
    }
}

fn describe(actual: &Actual) -> &'static str {
    match actual {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) | Actual::Float(_) => "a number",
        Actual::Char(_) | Actual::Str(_) => "a text",
        Actual::Seq => "a list",
        Actual::Map | Actual::NewtypeStruct | Actual::StructVariant => "a table",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its names matter")]
    struct Sample {
        listen: String,
        password_file: Option<String>,
    }

    fn table(text: &str) -> Dict {
        toml::from_str(text).expect("TOML")
    }

    #[test]
    fn the_nearest_key_is_named() {
        let found = unknown_keys::<Sample>(&table("lisen = 'x'"), &|key| format!("server.{key}"));
        assert_eq!(found[0].to_string(), "server.lisen: unknown key; did you mean `listen`?");
    }

    #[test]
    fn an_inline_secret_is_refused_with_the_way_out_and_not_repeated() {
        let found = unknown_keys::<Sample>(&table("password = 'canary'"), &|key| format!("redis.{key}"));
        assert!(found[0].problem.contains("`password_file`"), "{found:?}");
        assert!(!found[0].to_string().contains("canary"));
    }

    #[test]
    fn a_wrong_type_is_told_without_the_value() {
        let found =
            read::<Sample>(&table("listen = ['canary']"), &|key| format!("server.{key}")).err().expect("a finding");
        assert_eq!(found.to_string(), "server.listen: expected a string, found a list");
    }
}
