//! Overrides from environment variables: `TOKENVAULT_SECTION__KEY`.
//!
//! Only names with a double underscore are looked at: Kubernetes sets `TOKENVAULT_PORT_…` by itself for a Service called
//! `tokenvault`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::{Dict, Value};

use super::named::PLACEHOLDER;

const PREFIX: &str = "TOKENVAULT_";

/// The variables that override keys, by the dotted key they override.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Picks the overrides out of variables. Names are matched without regard to case; the key is lower case.
    pub fn from_variables<K: AsRef<str>, V: Into<String>>(variables: impl IntoIterator<Item = (K, V)>) -> Self {
        let mut overrides = BTreeMap::new();
        for (name, value) in variables {
            let upper = name.as_ref().to_ascii_uppercase();
            if let Some(key) = upper.strip_prefix(PREFIX).filter(|key| key.contains("__")) {
                overrides.insert(key.to_ascii_lowercase().replace("__", "."), value.into());
            }
        }
        Self(overrides)
    }

    /// The overrides this process was started with.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    pub fn of_process() -> Self {
        let readable =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from_variables(readable)
    }

    /// The variable that sets a key, if one does.
    pub(super) fn variable(&self, key: &str) -> Option<String> {
        self.0.contains_key(key).then(|| format!("{PREFIX}{}", key.replace('.', "__").to_ascii_uppercase()))
    }

    /// The overrides as nested tables. Numbers, booleans and `[lists]` are recognised; quote a number that is a text.
    pub(super) fn tables(&self) -> Dict {
        let mut root = Dict::new();
        for (key, text) in &self.0 {
            insert(&mut root, key, value(text));
        }
        root
    }
}

fn value(text: &str) -> Value {
    // Braces begin a table, but for those of a placeholder.
    let plain = |list: &&str| list.contains(PLACEHOLDER) && !list.contains(['"', '\'', '[', '=']);
    match text.trim().strip_prefix('[').and_then(|list| list.strip_suffix(']')).filter(plain) {
        Some(list) => Value::from(list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect::<Vec<_>>()),
        None => text.parse().unwrap_or_else(|never| match never {}),
    }
}

/// The home directory of whoever runs this process: operators keep their profiles there.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

fn insert(table: &mut Dict, key: &str, value: Value) {
    let Some((head, rest)) = key.split_once('.') else {
        table.insert(key.to_owned(), value);
        return;
    };
    let entry = table.entry(head.to_owned()).or_insert_with(|| Value::from(Dict::new()));
    if !matches!(entry, Value::Dict(..)) {
        *entry = Value::from(Dict::new());
    }
    if let Value::Dict(_, inner) = entry {
        insert(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_with_a_double_underscore_are_read() {
        let environment = Environment::from_variables([
            ("TOKENVAULT_PORT_8443_TCP", "tcp://10.0.0.1:8443"),
            ("TOKENVAULT_SERVER__LISTEN", "127.0.0.1:1"),
            ("OTHER__KEY", "x"),
        ]);
        assert_eq!(environment.0.keys().collect::<Vec<_>>(), ["server.listen"]);
        assert_eq!(environment.variable("server.listen").as_deref(), Some("TOKENVAULT_SERVER__LISTEN"));
        assert_eq!(environment.variable("server.key_file"), None);
    }

    #[test]
    fn values_keep_their_types() {
        let tables = Environment::from_variables([
            ("TOKENVAULT_SERVER__TLS12", "true"),
            ("TOKENVAULT_KEYCLOAK__ACCEPTED_CLIENTS", "[a, b]"),
            ("TOKENVAULT_TENANTS__DIKU__CLIENT_ID", "vault"),
        ])
        .tables();
        let root = Value::from(tables);
        assert_eq!(root.find_ref("server.tls12").and_then(Value::to_bool), Some(true));
        assert_eq!(root.find_ref("keycloak.accepted_clients").and_then(Value::as_array).map(<[Value]>::len), Some(2));
        assert_eq!(root.find_ref("tenants.diku.client_id").and_then(Value::as_str), Some("vault"));
    }

    #[test]
    fn a_placeholder_in_a_list_needs_no_quotes() {
        let list = |text: &str| {
            let value = value(text);
            let items = value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned));
            items.collect::<Option<Vec<_>>>()
        };
        let both = Some(vec!["{tenant}-login-application".to_owned(), "other".to_owned()]);
        assert_eq!(list("[{tenant}-login-application, other]"), both);
        assert_eq!(list(r#"["{tenant}-login-application", "other"]"#), both);
        assert_eq!(value("{tenant}-vault").as_str(), Some("{tenant}-vault"));
    }
}
