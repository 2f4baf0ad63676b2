//! Why the demonstration cannot be set up, or cannot go on.

use std::io;
use std::path::Path;

use tokenvault_server::config::ConfigError;
use tokenvault_server::runtime::StartError;

/// What went wrong; none of these shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A file or a socket.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// A certificate could not be made.
    #[error("cannot make the certificates: {0}")]
    Certificates(#[from] rcgen::Error),
    /// The written configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The vault did not start.
    #[error("cannot start the vault: {0}")]
    Start(#[from] StartError),
    /// The embedded identity provider did not start.
    #[error("cannot start the identity provider: {0}")]
    Double(#[from] keycloak_double::DoubleStartError),
    /// A request got no answer.
    #[error("{what}: {error}")]
    Unreachable {
        /// What was tried.
        what: String,
        /// What stood in its way, without the URL's query.
        error: String,
    },
    /// A request was refused.
    #[error("{what}: {status} {answer}")]
    Refused {
        /// What was tried.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What was answered: an error's code and description, nothing else.
        answer: String,
    },
}

impl DemoError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }

    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::io(format!("cannot write {}", path.display()))
    }

    pub(crate) fn unreachable(what: impl Into<String>) -> impl FnOnce(reqwest::Error) -> Self {
        let what = what.into();
        move |error| Self::Unreachable { what, error: root_cause(&error) }
    }

    /// The problem's or the OAuth error's own words; a whole answer could hold a token.
    pub(crate) fn refused(what: impl Into<String>, status: u16, body: &serde_json::Value) -> Self {
        let words = ["error", "code", "error_description", "errorMessage", "detail"];
        let answer = words.iter().filter_map(|name| body[*name].as_str()).collect::<Vec<_>>().join(": ");
        Self::Refused { what: what.into(), status, answer }
    }
}

/// "error sending request" says little; what is at its root says why.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
