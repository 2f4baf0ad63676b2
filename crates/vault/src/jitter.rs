//! Chance for jitter, so that what began together does not stay together.

use tokenvault_core::ports::Entropy;

/// A number in `0.0..1.0`.
pub fn roll(entropy: &dyn Entropy) -> f64 {
    let bits = u32::try_from(entropy.bits() >> 32).expect("the upper half of 64 bits fits 32");
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}
