//! What is said about one `check` or `reason`.

use tokenvault_vault::problem::Code;

/// Who can do something about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Responsible {
    /// Whoever wrote the module that asks.
    Module,
    /// The user, by logging in or starting the work again.
    User,
    /// Whoever runs the vault.
    Operator,
    /// Whoever administers the realm at Keycloak.
    Realm,
    /// Nobody: it is as it was meant.
    Nobody,
}

impl Responsible {
    /// As a heading.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Module => "The module",
            Self::User => "The user",
            Self::Operator => "The vault's operator",
            Self::Realm => "The realm's administrator",
            Self::Nobody => "Nobody",
        }
    }
}

/// One word, and what a person needs to know about it.
#[derive(Debug, Clone, Copy)]
pub struct Explanation {
    /// The problems that it comes with.
    pub codes: &'static [Code],
    /// The member of the problem that holds it: `check` or `reason`.
    pub member: &'static str,
    /// The word itself.
    pub word: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Who can do something about it.
    pub by: Responsible,
    /// What they can do.
    pub how: &'static str,
}
