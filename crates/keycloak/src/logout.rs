//! Whether a token is a logout token of the tenant's realm (`OpenID` Connect Back-Channel Logout 1.0 §2.4 and §2.6).
//!
//! It comes from anybody who can reach the listener. What is cheap is looked at first: a token that says the wrong thing is
//! refused before its signature costs anything or the realm's keys are asked for. Nothing that it says counts before the
//! signature does. Whether its id was seen before is the caller's to know.

use std::convert::Infallible;
use std::time::Duration;

use serde_json::Value;
use tokenvault_core::ids::{SessionId, Subject};
use tokenvault_core::ports::ProofError;
use tokenvault_core::time::Timestamp;

use crate::claims::{self, JwtClaims};
use crate::proof::{self, Unverified};
use crate::tenant::TenantConfig;

/// The member of `events` that makes a token a logout token.
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
/// Keycloak sends a logout token the moment it is made and never again.
const MAX_AGE: Duration = Duration::from_mins(5);
/// A token's id must be kept until the token has expired, so it may not be of any length.
const MAX_ID: usize = 255;

/// What a logout token says: these sessions may be over. It is a hint, to be followed by a look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogoutToken {
    /// Its own id (`jti`), never used twice.
    pub id: String,
    /// The session; without it all of the subject's are meant.
    pub sid: Option<SessionId>,
    /// The user, as Keycloak knows them. There is a session or a subject, or both.
    pub subject: Option<Subject>,
    /// From then on the token is refused for its age, so that its id need not be remembered any more.
    pub stale_at: Timestamp,
}

/// Which check a logout token failed. The code is for metrics and logs, and harmless to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LogoutError {
    /// One that every token of the realm must pass.
    #[error(transparent)]
    Token(#[from] ProofError),
    /// `aud` names none of the tenant's clients that the vault speaks for.
    #[error("wrong_audience")]
    Audience,
    /// `events` does not say that this is a logout.
    #[error("no_logout_event")]
    Event,
    /// It has a `nonce`, as ID tokens do.
    #[error("nonce_present")]
    Nonce,
}

impl LogoutError {
    /// The check as a word from a fixed list.
    pub fn code(self) -> &'static str {
        use ProofError as P;
        match self {
            Self::Audience => "wrong_audience",
            Self::Event => "no_logout_event",
            Self::Nonce => "nonce_present",
            Self::Token(P::Malformed) => "malformed",
            Self::Token(P::Algorithm) => "algorithm_not_allowed",
            Self::Token(P::Signature) => "bad_signature",
            Self::Token(P::Issuer) => "wrong_issuer",
            Self::Token(P::Expired) => "expired",
            Self::Token(P::TooOld) => "too_old",
            Self::Token(P::NotYetValid) => "not_yet_valid",
            Self::Token(P::Key) => "key_not_supported",
            Self::Token(P::Type | P::Client) => "wrong_type",
            Self::Token(P::ClaimMissing) => "claim_missing",
            Self::Token(P::KeysUnavailable) => "keys_unavailable",
            Self::Token(P::UnknownTenant) => "unknown_tenant",
        }
    }
}

/// Everything that can be seen without a key.
pub(crate) fn check(
    unverified: &Unverified<'_>,
    tenant: &TenantConfig,
    now: Timestamp,
) -> Result<LogoutToken, LogoutError> {
    let claims = unverified.claims()?;
    if !is_logout(unverified.typ.as_deref(), &claims) {
        return Err(ProofError::Type.into());
    }
    check_claims(&claims, tenant, now)
}

/// The type in the header tells a logout token from an ID token and an access token. `application/` may stand before it
/// (RFC 7515 §4.1.9). It is recommended and need not be there (§2.4): of a token that is just a JWT the claim `typ` tells, in
/// which Keycloak names each kind of its tokens.
fn is_logout(typ: Option<&str>, claims: &JwtClaims) -> bool {
    let typ = typ.unwrap_or("JWT").to_ascii_lowercase();
    match typ.strip_prefix("application/").unwrap_or(&typ) {
        "logout+jwt" => true,
        "jwt" => claims.get("typ").is_none_or(|kind| kind == "Logout"),
        _ => false,
    }
}

fn check_claims(claims: &JwtClaims, tenant: &TenantConfig, now: Timestamp) -> Result<LogoutToken, LogoutError> {
    if claims::text(claims, "iss") != Some(tenant.issuer()) {
        return Err(ProofError::Issuer.into());
    }
    if !claims.get("aud").is_some_and(|audience| names_ours(audience, tenant)) {
        return Err(LogoutError::Audience);
    }
    let stale_at = check_times(claims, tenant, now)?;
    if !claims.get("events").and_then(|events| events.get(EVENT)).is_some_and(Value::is_object) {
        return Err(LogoutError::Event);
    }
    if claims.contains_key("nonce") {
        return Err(LogoutError::Nonce);
    }
    let id = claims::text(claims, "jti").filter(|id| !id.is_empty()).ok_or(ProofError::ClaimMissing)?;
    if id.len() > MAX_ID {
        return Err(ProofError::Malformed.into());
    }
    let sid = optional(claims, "sid", SessionId::parse)?;
    // Where it is a name, as FOLIO maps it, it may have any characters, and then it is not what users are known by.
    let subject = optional(claims, "sub", |text| Ok::<_, Infallible>(Subject::parse(text).ok()))?.flatten();
    if sid.is_none() && subject.is_none() {
        return Err(ProofError::ClaimMissing.into());
    }
    Ok(LogoutToken { id: id.to_owned(), sid, subject, stale_at })
}

/// A text or a list of texts (RFC 7519 §4.1.3), one of which is a client the vault speaks for.
fn names_ours(audience: &Value, tenant: &TenantConfig) -> bool {
    match audience {
        Value::String(name) => tenant.speaks_for(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(|name| tenant.speaks_for(name)),
        _ => false,
    }
}

/// Answers with the moment from which on these checks fail.
fn check_times(claims: &JwtClaims, tenant: &TenantConfig, now: Timestamp) -> Result<Timestamp, ProofError> {
    let expires_at = proof::time(claims, "exp")?.ok_or(ProofError::ClaimMissing)? + tenant.expiry_leeway;
    if now >= expires_at {
        return Err(ProofError::Expired);
    }
    let issued_at = proof::begun(claims, tenant, now)?;
    if now.since(issued_at) > MAX_AGE {
        return Err(ProofError::TooOld);
    }
    Ok(expires_at.min(issued_at + MAX_AGE + Duration::from_millis(1)))
}

/// A name that may be absent, but not be something else than a name.
fn optional<T, E>(
    claims: &JwtClaims,
    claim: &str,
    parse: impl FnOnce(String) -> Result<T, E>,
) -> Result<Option<T>, ProofError> {
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or(ProofError::Malformed)?;
            parse(text.to_owned()).map(Some).map_err(|_| ProofError::Malformed)
        }
    }
}

#[cfg(test)]
mod tests;
