//! What expressions and promtool's series ask for, held against what a vault serves: names, labels, their values, and the
//! bounds of buckets.

use std::collections::{BTreeMap, BTreeSet};

/// The labels that Prometheus adds when it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];

/// One series: a line of the exposition, or an input of alerts.test.yaml.
pub(crate) struct Series {
    name: String,
    labels: BTreeMap<String, String>,
}

impl Series {
    /// Of `name{label="value",…}` or `name`, whatever follows it.
    fn parse(text: &str) -> Option<Self> {
        let name: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let labels = text[name.len()..].strip_prefix('{').and_then(|rest| rest.split('}').next()).unwrap_or_default();
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels =
            labels.map(|(label, value)| (label.trim().to_owned(), value.trim_matches('"').to_owned())).collect();
        (!name.is_empty()).then_some(Self { name, labels })
    }

    /// Whether this label has this value: one alternative of a matcher. Of a pattern only the kind `.*end` is understood.
    fn has(&self, label: &str, value: &str) -> bool {
        self.labels.get(label).is_some_and(|own| match (value.strip_prefix(".*"), own.parse::<f64>()) {
            (Some(end), _) => own.ends_with(end),
            // Bounds are numbers, however they are written.
            (None, Ok(own)) if label == "le" => {
                value.parse::<f64>().is_ok_and(|value| value.to_string() == own.to_string())
            }
            (None, _) => own == value,
        })
    }
}

/// What a vault serves.
pub(crate) fn served(exposition: &str) -> Vec<Series> {
    exposition.lines().filter(|line| !line.starts_with('#')).filter_map(Series::parse).collect()
}

/// The series that alerts.test.yaml lets Prometheus believe in, but for its own.
pub(crate) fn inputs(tests: &str) -> Vec<Series> {
    let quoted = tests.split("series: '").skip(1).filter_map(|rest| rest.split('\'').next());
    quoted.filter_map(Series::parse).filter(|series| series.name != "up").collect()
}

/// The metrics an expression names.
fn names(expression: &str) -> BTreeSet<&str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tokenvault_")).collect()
}

/// The matchers that an expression puts to a metric: a label, and the values it speaks of.
fn matchers<'a>(expression: &'a str, name: &str) -> Vec<(&'a str, Vec<&'a str>)> {
    let opened = format!("{name}{{");
    let asked = expression.match_indices(&opened).flat_map(|(at, found)| {
        let inside = expression[at + found.len()..].split('}').next().unwrap_or_default();
        inside.split(',').filter_map(|matcher| {
            let (label, value) = matcher.split_at(matcher.find(['=', '!'])?);
            let value = value.trim_start_matches(['=', '!', '~']).trim_matches('"');
            Some((label.trim(), value.split('|').collect()))
        })
    });
    asked.filter(|(label, _)| !SCRAPED.contains(label)).collect()
}

/// What an expression asks for and nobody serves. A matcher `label!=…` is held to it as well: it would leave out nothing.
pub(crate) fn unserved(expression: &str, served: &[Series]) -> Vec<String> {
    let mut missing = Vec::new();
    for name in names(expression) {
        let known: Vec<&Series> = served.iter().filter(|series| series.name == name).collect();
        if known.is_empty() {
            missing.push(name.to_owned());
        }
        for (label, values) in matchers(expression, name) {
            let unknown = values.iter().filter(|value| !known.iter().any(|series| series.has(label, value)));
            missing.extend(unknown.map(|value| format!("{name}{{{label}={value:?}}}")));
        }
    }
    missing
}

/// The inputs no vault serves the like of.
pub(crate) fn invented(inputs: &[Series], served: &[Series]) -> Vec<String> {
    let like = |input: &Series| {
        let mut labels = input.labels.iter().filter(|(label, _)| !SCRAPED.contains(&label.as_str()));
        let same: Vec<&Series> = served.iter().filter(|series| series.name == input.name).collect();
        labels.all(|(label, value)| same.iter().any(|series| series.has(label, value))) && !same.is_empty()
    };
    inputs.iter().filter(|input| !like(input)).map(|input| format!("{}{:?}", input.name, input.labels)).collect()
}
