//! The realm's keys: pairs that sign what the world verifies (access and ID tokens; RS256 as Keycloak does by default, or
//! `EdDSA`, which signs faster), and one secret that signs what only the realm itself reads (refresh tokens, HS512).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{self, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use aws_lc_rs::{digest, error::Unspecified};
use serde_json::{Value, json};

use crate::entropy::DoubleEntropy;
use crate::token::b64;

/// A key pair with its key id. Clones share the pair, since making one takes a moment: a test suite may give all its
/// realms the same.
#[derive(Clone)]
pub struct DoubleSigningKey(Arc<Inner>);

struct Inner {
    pair: SigningPair,
    kid: String,
}

enum SigningPair {
    Rsa(KeyPair),
    Ed25519(Ed25519KeyPair),
}

impl DoubleSigningKey {
    /// Makes a new RSA pair of 2048 bits (a tenth of a second, give or take).
    pub fn generate() -> Result<Self, Unspecified> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let kid = kid(pair.public_key().as_ref());
        Ok(Self(Arc::new(Inner { pair: SigningPair::Rsa(pair), kid })))
    }

    /// The Ed25519 pair that belongs to a seed: the same seed gives the same pair and the same signatures. For
    /// simulations, which sign often and repeat themselves.
    pub fn ed25519(seed: [u8; 32]) -> Result<Self, Unspecified> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| Unspecified)?;
        let kid = kid(pair.public_key().as_ref());
        Ok(Self(Arc::new(Inner { pair: SigningPair::Ed25519(pair), kid })))
    }

    /// The `alg` of its signatures (RFC 7518 §3.1, RFC 8037 §3.1).
    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.0.pair {
            SigningPair::Rsa(_) => "RS256",
            SigningPair::Ed25519(_) => "EdDSA",
        }
    }

    /// The key id that tokens carry in their header.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0.pair {
            SigningPair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .expect("the buffer is as long as the modulus, the only thing PKCS#1 signing can object to");
                signature
            }
            SigningPair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.0.pair {
            SigningPair::Rsa(pair) => {
                UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
                    .verify(message, signature)
            }
            SigningPair::Ed25519(pair) => {
                UnparsedPublicKey::new(&signature::ED25519, pair.public_key().as_ref()).verify(message, signature)
            }
        };
        verified.is_ok()
    }

    /// The public half as a JWK (RFC 7517).
    pub(crate) fn jwk(&self) -> Value {
        let mut jwk = json!({"kid": self.kid(), "alg": self.algorithm(), "use": "sig"});
        match &self.0.pair {
            SigningPair::Rsa(pair) => {
                let (n, e) = components(pair.public_key().as_ref());
                jwk["kty"] = json!("RSA");
                jwk["n"] = json!(b64(n));
                jwk["e"] = json!(b64(e));
            }
            SigningPair::Ed25519(pair) => {
                jwk["kty"] = json!("OKP");
                jwk["crv"] = json!("Ed25519");
                jwk["x"] = json!(b64(pair.public_key().as_ref()));
            }
        }
        jwk
    }
}

fn kid(public: &[u8]) -> String {
    b64(digest::digest(&digest::SHA256, public).as_ref())
}

/// Modulus and exponent, big-endian: the two integers of an `RSAPublicKey` (RFC 8017, A.1.1).
fn components(mut der: &[u8]) -> (&[u8], &[u8]) {
    der = der_value(&mut der);
    (der_integer(&mut der), der_integer(&mut der))
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

impl fmt::Debug for DoubleSigningKey {
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
    pub(crate) fn new(entropy: &mut dyn DoubleEntropy) -> Self {
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
