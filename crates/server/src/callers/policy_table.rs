//! What policy files have in common: a TOML list of tables, one for each certificate that may call.

use std::path::Path;

use figment::value::{Dict, Value};

use crate::config::strict;
use crate::config::{ConfigError, Finding};

/// A policy, made of its file's entries one by one.
pub trait PolicyTable: Default + PartialEq + Send + Sync + Sized + 'static {
    /// What the list is called: `module` for `[[module]]`.
    const LIST: &'static str;

    /// Adds an entry, or tells what is wrong with it.
    fn add(&mut self, table: &Dict, place: &dyn Fn(&str) -> String, findings: &mut Vec<Finding>);

    /// How many entries there are.
    fn len(&self) -> usize;

    /// Whether nobody is known.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads a policy file; everything wrong in it is told together.
    fn load(file: &Path) -> Result<Self, ConfigError> {
        let fail = |findings| ConfigError { file: file.display().to_string(), findings };
        let text = std::fs::read_to_string(file)
            .map_err(|error| fail(vec![Finding::new("file", format!("cannot be read: {error}"))]))?;
        Self::parse(&text).map_err(fail)
    }

    /// Parses a policy.
    fn parse(text: &str) -> Result<Self, Vec<Finding>> {
        let list = Self::LIST;
        let root: Dict = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            vec![Finding::new(format!("line {line}"), format!("is not TOML: {}", error.message()))]
        })?;
        let mut findings: Vec<Finding> = root
            .keys()
            .filter(|key| *key != list)
            .map(|key| Finding::new(key, strict::unknown_key(key, &[list])))
            .collect();
        let mut policy = Self::default();
        match root.get(list) {
            // An empty file is one that is just being written; that nobody may call is said by `module = []`.
            None => findings.push(Finding::new(list, format!("there is none: add a table [[{list}]] for each"))),
            Some(Value::Array(_, entries)) => {
                for (at, entry) in entries.iter().enumerate() {
                    let place = format!("{list} {}", at + 1);
                    match entry {
                        Value::Dict(_, table) => policy.add(table, &|key| format!("{place}: {key}"), &mut findings),
                        _ => findings.push(Finding::new(place, "must be a table")),
                    }
                }
            }
            Some(_) => findings.push(Finding::new(list, format!("must be a list of tables: [[{list}]]"))),
        }
        if findings.is_empty() { Ok(policy) } else { Err(findings) }
    }
}
