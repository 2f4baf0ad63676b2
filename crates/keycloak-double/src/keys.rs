//! The realm's keys: RSA pairs that sign what the world verifies (access and ID tokens, RS256), and one secret that
//! signs what only the realm itself reads (refresh tokens, HS512).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{digest, error::Unspecified};

use crate::entropy::Entropy;
use crate::token::b64;

/// An RSA key pair of 2048 bits with its key id. Clones share the pair, since making one takes a moment: a test suite
/// may give all its realms the same.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: KeyPair,
    kid: String,
}

impl SigningKey {
    /// Makes a new pair (a tenth of a second, give or take).
    pub fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let kid = b64(digest::digest(&digest::SHA256, pair.public_key().as_ref()).as_ref());
        Ok(Self(Arc::new(Inner { pair, kid })))
    }

    /// The key id that tokens carry in their header.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.pair.public_modulus_len()];
        self.0
            .pair
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("the buffer is as long as the modulus, the only thing PKCS#1 signing can object to");
        signature
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let public = UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, self.0.pair.public_key());
        public.verify(message, signature).is_ok()
    }

    /// Modulus and exponent, big-endian: the two integers of the key's `RSAPublicKey` (RFC 8017, A.1.1).
    pub(crate) fn components(&self) -> (&[u8], &[u8]) {
        let mut der = self.0.pair.public_key().as_ref();
        der = der_value(&mut der);
        (der_integer(&mut der), der_integer(&mut der))
    }
}

/// The value of the next DER element, which `rest` is moved past.
fn der_value<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (length, header) = match rest[1] {
        short @ 0..0x80 => (usize::from(short), 2),
        long => {
            let bytes = usize::from(long & 0x7f);
            (rest[2..2 + bytes].iter().fold(0, |n, b| n << 8 | usize::from(*b)), 2 + bytes)
        }
    };
    let (element, after) = rest.split_at(header + length);
    *rest = after;
    &element[header..]
}

/// A positive integer without the zero that DER may put in front.
fn der_integer<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let value = der_value(rest);
    value.strip_prefix(&[0]).unwrap_or(value)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.0.kid).finish_non_exhaustive()
    }
}

/// The realm's own secret, for tokens nobody else verifies.
pub(crate) struct RealmSecret {
    key: hmac::Key,
    pub(crate) kid: String,
}

impl RealmSecret {
    pub(crate) fn new(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = [0; 64];
        entropy.fill(&mut bytes);
        Self { key: hmac::Key::new(hmac::HMAC_SHA512, &bytes), kid: crate::entropy::uuid(entropy) }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.key, message).as_ref().to_vec()
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.key, message, signature).is_ok()
    }
}
