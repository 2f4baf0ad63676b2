//! What is wrong with a configuration: every finding names its place and what to do.

use std::fmt;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: a dotted key, an environment variable or a file.
    pub place: String,
    /// What, as a sentence without its subject. Never a secret.
    pub problem: String,
}

impl Finding {
    /// A finding at a place.
    pub fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A key that nobody knows is quoted, and is shown on a terminal.
        let said = format!("{}: {}", self.place, self.problem);
        f.write_str(&said.replace(char::is_control, "·"))
    }
}

/// Everything that was found wrong, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file that was read.
    pub file: String,
    /// The findings; never empty.
    pub findings: Vec<Finding>,
}

impl ConfigError {
    pub(super) fn one(file: &std::path::Path, finding: Finding) -> Self {
        Self { file: file.display().to_string(), findings: vec![finding] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.findings.as_slice() {
            [finding] => write!(f, "{}: {finding}", self.file),
            findings => {
                write!(f, "{}: {} problems", self.file, findings.len())?;
                findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}
