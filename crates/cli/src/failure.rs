//! How a command fails: a text for people and an exit status for programs.
//!
//! A text must never hold a secret: it goes to standard error and into logs.

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
    /// With a text for people.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: FAILED }
    }

    /// With what was tried and the error that stopped it.
    pub fn because(what: &str, error: impl Display) -> Self {
        Self::new(format!("{what}: {error}"))
    }

    /// The command line is wrong.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: USAGE }
    }

    /// The vault did not answer.
    pub fn unreachable(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: UNREACHABLE }
    }

    /// Whether the vault did not answer.
    pub fn is_unreachable(&self) -> bool {
        self.status == UNREACHABLE
    }

    /// Whether the thing that was asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status == NOT_FOUND
    }

    /// The thing that was asked for does not exist.
    pub fn not_found(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), status: NOT_FOUND }
    }

    /// The same without its text: the command has printed it already.
    #[must_use]
    pub fn already_printed(self) -> Self {
        Self { text: None, ..self }
    }

    /// A failure that the command has printed already.
    pub fn printed() -> Self {
        Self { text: None, status: FAILED }
    }

    /// The text, unless it was printed already.
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
            // The reader of the output has closed it (`tokenvault man | head`).
            io::ErrorKind::BrokenPipe => Self::printed(),
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
