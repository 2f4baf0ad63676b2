//! The words that tell problems of one code apart: each `check` and each `reason`, what it means, and who can do something
//! about it. `/problems/{code}` and the API's description show them; a test sees to it that no answer has a word that is
//! missing here.

mod checks;
mod reasons;
#[cfg(test)]
mod tests;

use tokenvault_vault::problem::Code;

/// Who can do something about a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
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

impl By {
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

/// A word.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The problems it comes with.
    pub codes: &'static [Code],
    /// The member it is told in: `check` or `reason`.
    pub member: &'static str,
    /// The word itself.
    pub word: &'static str,
    /// What it means.
    pub means: &'static str,
    /// Who can mend it.
    pub by: By,
    /// And how.
    pub how: &'static str,
}

/// All words.
pub fn all() -> impl Iterator<Item = &'static Word> {
    checks::CHECKS.iter().chain(reasons::ALL.iter().copied().flatten())
}

/// Those that a problem may come with.
pub fn of(code: Code) -> impl Iterator<Item = &'static Word> {
    all().filter(move |word| word.codes.contains(&code))
}

/// The same by name, each once, for a member: what the API's description lists.
pub fn names(member: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = all().filter(|word| word.member == member).map(|word| word.word).collect();
    names.sort_unstable();
    names.dedup();
    names
}
