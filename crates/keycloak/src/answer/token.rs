//! What the token endpoint answers (RFC 6749 §5.1, RFC 8693 §2.2.1): each optional member present or absent, as the standards
//! leave it.
//!
//! A life is a length of time. Where no member says it, it is the difference of two instants of the server's own clock, of
//! which both stand in its tokens; its clock is never compared with the vault's.

use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenvault_core::secret::{AccessToken, RefreshToken};

use crate::claims::{self, JwtClaims};

/// How long an access token is believed to live where nobody says: not long, so that the next one comes soon.
const UNSAID: Duration = Duration::from_mins(1);
/// No life is longer, so that instants can be counted with: a hundred years.
const MOST: Duration = Duration::from_hours(24 * 365 * 100);

#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    access_token: AccessTokenText,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "refresh_token")]
    refresh_token: Option<RefreshToken>,
    #[serde(default, deserialize_with = "seconds")]
    refresh_expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "text")]
    token_type: Option<String>,
    #[serde(default, deserialize_with = "text")]
    scope: Option<String>,
}

/// The same, with what is not said there filled in from the access token.
pub(super) struct Tokens {
    pub(super) access: AccessToken,
    /// The access token's claims; none where it cannot be read.
    pub(super) claims: JwtClaims,
    pub(super) expires_in: Duration,
    pub(super) refresh: Option<RefreshToken>,
    refresh_expires_in: Option<Duration>,
    /// Whether it can be used by whoever has it (RFC 6750).
    pub(super) is_bearer: bool,
    pub(super) scope: Option<String>,
}

impl From<TokenAnswer> for Tokens {
    fn from(answer: TokenAnswer) -> Self {
        let AccessTokenText(access) = answer.access_token;
        let claims = claims::unverified(access.expose()).unwrap_or_default();
        let said = answer.expires_in;
        let own = || from_to(&claims, "iat", &claims);
        Self {
            expires_in: said.filter(|life| !life.is_zero()).or_else(own).or(said).unwrap_or(UNSAID),
            refresh: answer.refresh_token,
            refresh_expires_in: answer.refresh_expires_in,
            // Required, and of no importance where it is missing. Case does not matter (RFC 6749 §5.1).
            is_bearer: answer.token_type.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")),
            scope: answer.scope.or_else(|| claims::text(&claims, "scope").map(str::to_owned)),
            access,
            claims,
        }
    }
}

impl Tokens {
    /// How long a refresh token lives that came with these tokens, or was sent for them; `None` if it does not expire. Keycloak
    /// says 0 for an offline token without an end. In its last moment an online token's life may round to 0 as well, but
    /// that one carries an `exp`.
    pub(super) fn life_of(&self, refresh: &RefreshToken) -> Option<Duration> {
        let said = self.refresh_expires_in.filter(|life| self.refresh.is_some() && !life.is_zero());
        if said.is_some() {
            return said;
        }
        let own = claims::unverified(refresh.expose()).filter(|claims| claims.contains_key("exp"))?;
        let left = from_to(&self.claims, "iat", &own).or_else(|| from_to(&own, "iat", &own));
        // Rounded to 0 by who said so, or not known: it lives as long as the access token at least.
        Some(left.unwrap_or_else(|| self.refresh_expires_in.unwrap_or(self.expires_in)))
    }
}

/// From an instant in one token to the end of another, both of one clock.
fn from_to(begin: &JwtClaims, claim: &str, end: &JwtClaims) -> Option<Duration> {
    let instant = |claims: &JwtClaims, name: &str| claims.get(name)?.as_f64();
    life(instant(end, "exp")? - instant(begin, claim)?)
}

fn life(seconds: f64) -> Option<Duration> {
    if seconds.is_nan() { None } else { Some(Duration::from_secs_f64(seconds.clamp(0.0, MOST.as_secs_f64()))) }
}

/// Seconds as a number or, as some say them, as a text; anything else is as good as nothing.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_f64().and_then(life),
        Value::String(text) => text.trim().parse().ok().and_then(life),
        _ => None,
    })
}

fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => Some(text),
        _ => None,
    })
}

/// Straight from the answer into the type that is wiped.
struct AccessTokenText(AccessToken);

impl<'de> Deserialize<'de> for AccessTokenText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() { Err(serde::de::Error::custom("an empty token")) } else { Ok(Self(AccessToken::new(text))) }
    }
}

fn refresh_token<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RefreshToken>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(RefreshToken::new))
}
