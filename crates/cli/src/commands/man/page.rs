//! One page of the manual.

/// A page: `{name}.{section}` is its file.
pub(super) struct ManualPage {
    pub(super) name: String,
    pub(super) section: &'static str,
    /// Its text, as `man` reads it.
    pub(super) roff: String,
}
