//! Tokens and other secrets as types that cannot be printed, compared by accident or serialised, and that are wiped when
//! dropped.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

macro_rules! secret {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $type(Zeroizing<String>);

        impl $type {
            /// Takes the text over.
            pub fn new(text: impl Into<String>) -> Self {
                Self(Zeroizing::new(text.into()))
            }

            /// The secret itself: for the one place that sends, seals or verifies it.
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($type), "([redacted])"))
            }
        }
    };
}

secret!(
    /// An access token (RFC 6749 §1.4).
    AccessToken
);
secret!(
    /// A refresh token (RFC 6749 §1.5).
    RefreshToken
);
secret!(
    /// A client's secret (RFC 6749 §2.3.1), or any other password read from a file.
    ClientSecret
);

impl RefreshToken {
    /// Names this token without showing it.
    pub fn hash(&self) -> TokenHash {
        let digest = Sha256::digest(self.expose().as_bytes());
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        TokenHash(short)
    }
}

/// The first 128 bits of a token's SHA-256: tells tokens apart, gives none away (a token has far more entropy).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash([u8; 16]);

impl TokenHash {
    /// Parses what [`fmt::Display`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32).map(|bits| Self(bits.to_be_bytes()))
    }
}

impl fmt::Display for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let shown = format!(
            "{:?} {:?} {:?}",
            AccessToken::new("canary"),
            RefreshToken::new("canary"),
            ClientSecret::new("canary")
        );
        assert!(!shown.contains("canary"), "{shown}");
    }

    #[test]
    fn a_hash_tells_tokens_apart_and_reads_back() {
        let (a, b) = (RefreshToken::new("a").hash(), RefreshToken::new("b").hash());
        assert_ne!(a, b);
        assert_eq!(TokenHash::parse(&a.to_string()), Some(a));
        assert!(TokenHash::parse("zz").is_none());
    }
}
