//! How a command fails: a text for people and a status for programs.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use tokenvault_server::config::ConfigError;

const FAILED: u8 = 1;
const USAGE: u8 = 2;
const UNREACHABLE: u8 = 3;
const NOT_FOUND: u8 = 4;

/// A command failed.
#[derive(Debug)]
pub struct Failure {
    text: Option<String>,
    status: u8,
}

impl Failure {
    /// With what to tell about it.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: FAILED }
    }

    /// With a sentence on what was tried and what stood in its way.
    pub fn because(what: &str, error: impl Display) -> Self {
        Self::new(format!("{what}: {error}"))
    }

    /// The command line asks for something that cannot be.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: USAGE }
    }

    /// Nobody answered.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: UNREACHABLE }
    }

    /// Whether nobody answered.
    pub fn is_unreachable(&self) -> bool {
        self.status == UNREACHABLE
    }

    /// Whether what it is about is not there.
    pub fn is_not_found(&self) -> bool {
        self.status == NOT_FOUND
    }

    /// What it is about is not there.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: NOT_FOUND }
    }

    /// The same, told by the command's own output already.
    #[must_use]
    pub fn already_told(self) -> Self {
        Self { text: None, ..self }
    }

    /// The command's own output told it already.
    pub fn told() -> Self {
        Self { text: None, status: FAILED }
    }

    /// What is left to tell.
    pub fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// The process's exit status.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // Whoever read the output has heard enough (`tokenvault man | head`).
            io::ErrorKind::BrokenPipe => Self::told(),
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(error.to_string())
    }
}

#[cfg(feature = "demo")]
impl From<crate::demo::DemoError> for Failure {
    fn from(error: crate::demo::DemoError) -> Self {
        Self::new(error.to_string())
    }
}
