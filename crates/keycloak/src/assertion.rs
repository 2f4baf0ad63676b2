//! `private_key_jwt` (RFC 7523 §2.2, `OpenID` Connect Core §9): the vault's client proves itself by a signature.
//!
//! Keycloak takes each `jti` once, so an assertion is made for one request and never kept.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{AlgorithmFamily, EncodingKey};
use serde_json::{Value, json};
use tokenvault_core::ids::ClientId;
use tokenvault_core::ports::Entropy;
use tokenvault_core::secret::ClientSecret;
use tokenvault_core::time::Timestamp;

use crate::signature::{self, Algorithm};

/// Half of the 60 seconds that Keycloak allows: the two clocks may differ by the other half in either direction.
const LIFE: Duration = Duration::from_secs(30);

/// Why a private key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not a PEM with an RSA, EC (P-256, P-384, P-521) or Ed25519 private key in PKCS #8 (RSA also in PKCS #1).
    #[error("not a private key in PEM")]
    Unreadable,
    /// The key cannot sign with the algorithm asked for.
    #[error("the key and the algorithm do not belong together")]
    Mismatch,
}

/// A client's private key with the algorithm it signs with. `Debug` does not show it.
#[derive(Clone)]
pub struct SigningKey(Arc<SigningKeyParts>);

struct SigningKeyParts {
    key: EncodingKey,
    algorithm: Algorithm,
    kid: Option<String>,
}

impl SigningKey {
    /// Reads a PEM. Without an algorithm it is RS256, ES256, ES384, ES512 or `EdDSA`, as the key demands. `kid` is needed
    /// only where Keycloak knows several keys of the client.
    pub fn from_pem(pem: &ClientSecret, algorithm: Option<&str>, kid: Option<String>) -> Result<Self, InvalidKey> {
        let bytes = pem.expose().as_bytes();
        let key = EncodingKey::from_rsa_pem(bytes)
            .or_else(|_| EncodingKey::from_ec_pem(bytes))
            .or_else(|_| EncodingKey::from_ed_pem(bytes))
            .map_err(|_| InvalidKey::Unreadable)?;
        let possible = match key.family() {
            AlgorithmFamily::Hmac => return Err(InvalidKey::Mismatch),
            AlgorithmFamily::Rsa => Algorithm::RSA,
            AlgorithmFamily::Ec => Algorithm::EC,
            AlgorithmFamily::Ed => Algorithm::ED25519,
        };
        let named = algorithm.map(|name| Algorithm::named(name).ok_or(InvalidKey::Mismatch)).transpose()?;
        // Only signing tells a P-256 key from a P-384 one, and a truncated key from a whole one.
        let fits = |algorithm: &&Algorithm| {
            named.is_none_or(|named| named == **algorithm) && signature::sign("trial", &key, **algorithm).is_some()
        };
        let algorithm = *possible.iter().find(fits).ok_or(InvalidKey::Mismatch)?;
        Ok(Self(Arc::new(SigningKeyParts { key, algorithm, kid })))
    }

    /// The algorithm's name (RFC 7518 §3.1).
    pub fn algorithm(&self) -> String {
        self.0.algorithm.name()
    }

    /// A new assertion for one request. Keycloak takes the issuer as audience at each of its endpoints.
    pub(crate) fn assert(
        &self,
        client: &ClientId,
        issuer: &str,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> Result<ClientSecret, InvalidKey> {
        let claims = json!({
            "iss": client.as_str(),
            "sub": client.as_str(),
            "aud": issuer,
            "jti": format!("{:016x}{:016x}", entropy.bits(), entropy.bits()),
            "iat": now.as_secs(),
            "exp": (now + LIFE).as_secs(),
        });
        let mut header = json!({ "typ": "JWT", "alg": self.algorithm() });
        if let Some(kid) = &self.0.kid {
            header["kid"] = json!(kid);
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = signature::sign(&signed, &self.0.key, self.0.algorithm).ok_or(InvalidKey::Mismatch)?;
        Ok(ClientSecret::new(format!("{signed}.{signature}")))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, [redacted])", self.algorithm())
    }
}
