//! The one error of the harness: text for the person who reads a failed test. It must never carry a token or a secret.

use std::cell::Cell;
use std::fmt;

thread_local! {
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is failing, or has met a failure that may end its test: then what the processes said is worth
/// showing. The output of a test that passes after all is not shown by the test runner.
pub(super) fn seen() -> bool {
    std::thread::panicking() || SEEN.get()
}

/// Why a test could not be carried out. Converts from every error, so that a test may return [`Result`] and use `?`.
pub struct Failure(String);

/// What harness functions and tests return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// A failure in plain words.
    pub fn new(message: impl Into<String>) -> Self {
        SEEN.set(true);
        Self(message.into())
    }

    /// The same failure, saying first what was being done.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self(format!("{doing}: {}", self.0))
    }
}

// A test that returns an error is shown by its `Debug`: plain words read better there than a quoted string.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self::new(text)
    }
}
