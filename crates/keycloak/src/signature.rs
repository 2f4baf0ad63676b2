//! The signature algorithms: every asymmetric one that Keycloak offers, by its name in a JWT's header.
//!
//! jsonwebtoken knows all of them but ES512, which aws-lc-rs does here. None is symmetric: with HMAC, who can verify can
//! also forge.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm as Common, DecodingKey, EncodingKey};

/// The bytes of each of the two numbers of a point on P-521.
const P521_BYTES: usize = 66;

/// An allowed algorithm (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// One that jsonwebtoken knows.
    Common(Common),
    /// ECDSA with P-521 and SHA-512.
    Es512,
}

impl Algorithm {
    pub(crate) const RSA: &'static [Self] = &[
        Self::Common(Common::RS256),
        Self::Common(Common::RS384),
        Self::Common(Common::RS512),
        Self::Common(Common::PS256),
        Self::Common(Common::PS384),
        Self::Common(Common::PS512),
    ];
    pub(crate) const EC: &'static [Self] = &[Self::Common(Common::ES256), Self::Common(Common::ES384), Self::Es512];
    pub(crate) const ED25519: &'static [Self] = &[Self::Common(Common::EdDSA)];

    /// By its name; `None` if it is none of these.
    pub(crate) fn named(name: &str) -> Option<Self> {
        // RFC 9864 §2.2 gives `EdDSA` with this curve a name of its own.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        let all = [Self::RSA, Self::EC, Self::ED25519];
        all.into_iter().flatten().copied().find(|algorithm| algorithm.name() == name)
    }

    /// The algorithm of keys on this curve, and the bytes of each of a point's two numbers.
    pub(crate) fn of_curve(curve: &str) -> Option<(&'static [Self], usize)> {
        match curve {
            "P-256" => Some((&Self::EC[..1], 32)),
            "P-384" => Some((&Self::EC[1..2], 48)),
            "P-521" => Some((&Self::EC[2..], P521_BYTES)),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> String {
        match self {
            Self::Common(common) => format!("{common:?}"),
            Self::Es512 => "ES512".to_owned(),
        }
    }
}

/// A public key.
pub(crate) enum PublicKey {
    /// One that jsonwebtoken uses.
    Common(DecodingKey),
    /// A point on P-521, uncompressed.
    P521(Vec<u8>),
}

impl PublicKey {
    /// Whether the signature, as it stands in the token, is this key's.
    pub(crate) fn verifies(&self, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
        match (self, algorithm) {
            (Self::Common(key), Algorithm::Common(common)) => {
                jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, common).unwrap_or(false)
            }
            (Self::P521(point), Algorithm::Es512) => URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| {
                UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
            }),
            _ => false,
        }
    }
}

/// A signature as it stands in a JWT; `None` where the key cannot make one.
pub(crate) fn sign(message: &str, key: &EncodingKey, algorithm: Algorithm) -> Option<String> {
    match algorithm {
        Algorithm::Common(common) => jsonwebtoken::crypto::sign(message.as_bytes(), key, common).ok(),
        Algorithm::Es512 => {
            let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P521_SHA512_FIXED_SIGNING, key.as_bytes()).ok()?;
            let signature = pair.sign(&SystemRandom::new(), message.as_bytes()).ok()?;
            Some(URL_SAFE_NO_PAD.encode(signature))
        }
    }
}
