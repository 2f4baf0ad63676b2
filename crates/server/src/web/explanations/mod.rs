//! The words that tell problems of one code apart: each `check` and each `reason`, what it means, and who can do something
//! about it.
//!
//! `/problems/{code}` and the API's description show them. No answer may have a word that is missing here; a test checks it.

mod checks;
mod explanation;
mod reasons;
#[cfg(test)]
mod tests;

pub use explanation::{Explanation, Responsible};
use tokenvault_vault::problem::Code;

/// All explanations.
pub fn all() -> impl Iterator<Item = &'static Explanation> {
    checks::CHECKS.iter().chain(reasons::ALL.iter().copied().flatten())
}

/// Those that a problem may come with.
pub fn of(code: Code) -> impl Iterator<Item = &'static Explanation> {
    all().filter(move |word| word.codes.contains(&code))
}

/// The same by name, each once, for a member: what the API's description lists.
pub fn names(member: &str) -> Vec<&'static str> {
    let mut names: Vec<&str> = all().filter(|word| word.member == member).map(|word| word.word).collect();
    names.sort_unstable();
    names.dedup();
    names
}
