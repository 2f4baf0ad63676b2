//! Where identifiers, secrets and session ids come from. Handed in, so that a simulation repeats exactly.

use aws_lc_rs::rand;

/// A source of bytes for identifiers.
pub trait DoubleEntropy: Send + 'static {
    /// Fills the whole of `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct DoubleOsEntropy;

impl DoubleEntropy for DoubleOsEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        rand::fill(out).expect("aws-lc's generator is seeded by the system and does not fail once the process runs");
    }
}

/// Bytes that follow from a seed alone (`SplitMix64`): unguessable to nobody, the same in every run.
#[derive(Debug, Clone)]
pub struct DoubleSeededEntropy(u64);

impl DoubleSeededEntropy {
    /// A source that repeats for the same `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl DoubleEntropy for DoubleSeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// A random UUID as text.
pub(crate) fn uuid(entropy: &mut dyn DoubleEntropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A session id of Keycloak's shape: 24 characters of base64url.
pub(crate) fn session_id(entropy: &mut dyn DoubleEntropy) -> String {
    let mut bytes = [0; 18];
    entropy.fill(&mut bytes);
    crate::token::b64(&bytes)
}
