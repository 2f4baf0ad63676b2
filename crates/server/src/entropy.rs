//! The operating system's randomness.

use tokenvault_core::ports::Entropy;

/// Random bytes from the operating system.
#[derive(Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the entropy adapter")]
    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out).expect("the operating system's generator cannot fail once the system is up");
    }
}
