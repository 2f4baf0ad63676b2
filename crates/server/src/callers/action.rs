//! What a module can ask for.

/// What a caller wants to do; a policy grants each by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `PUT`
    Register,
    /// `GET`
    Read,
    /// `DELETE`
    Release,
}
