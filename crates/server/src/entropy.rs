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

/// A number in `0.0..1.0`, for jitter.
pub fn roll(entropy: &dyn Entropy) -> f64 {
    let bits = u32::try_from(entropy.bits() >> 32).expect("the upper half of 64 bits fits 32");
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
