//! Whether an access token proves what a registration claims: signature first, then every claim, each with its own no.
//!
//! Time is the injected clock's; jsonwebtoken is used for the signature alone, since its own checks of `exp` and `nbf`
//! read the machine's clock.

use std::time::Duration;

use tokenvault_core::ids::{ClientId, SessionId, Subject, UserId};
use tokenvault_core::ports::{Proof, ProofError};
use tokenvault_core::time::Timestamp;

use crate::claims::{self, JwtClaims};
use crate::jwks::RealmKey;
use crate::signature::Algorithm;
use crate::tenant::TenantConfig;

/// How far back a proof may have been issued where the tenant does not say and the proof lives longer.
const MOST_AGE: Duration = Duration::from_hours(1);

/// A token in its parts, its algorithm allowed, nothing verified yet.
pub(crate) struct Unverified<'a> {
    pub(crate) kid: String,
    /// What the header says the token is.
    pub(crate) typ: Option<String>,
    algorithm: Algorithm,
    signed: &'a str,
    signature: &'a str,
    payload: &'a str,
}

impl<'a> Unverified<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, ProofError> {
        let malformed = ProofError::Malformed;
        let (signed, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (head, payload) = signed.split_once('.').filter(|(_, payload)| !payload.contains('.')).ok_or(malformed)?;
        let header = claims::decode(head).ok_or(malformed)?;
        let algorithm = claims::text(&header, "alg").and_then(Algorithm::named).ok_or(ProofError::Algorithm)?;
        // An extension that must be understood (RFC 7515 §4.1.11), and none is.
        if header.contains_key("crit") {
            return Err(malformed);
        }
        let kid = claims::text(&header, "kid").ok_or(ProofError::Signature)?.to_owned();
        let typ = claims::text(&header, "typ").map(str::to_owned);
        Ok(Self { kid, typ, algorithm, signed, signature, payload })
    }

    /// What it claims, which anybody could have written.
    pub(crate) fn claims(&self) -> Result<JwtClaims, ProofError> {
        claims::decode(self.payload).ok_or(ProofError::Malformed)
    }

    /// The claims, if this key signed them and may sign with this algorithm.
    pub(crate) fn verify(&self, key: &RealmKey) -> Result<JwtClaims, ProofError> {
        let key = key.verifying.as_ref().ok_or(ProofError::Key)?;
        if !key.verifies(self.algorithm, self.signed, self.signature) {
            return Err(ProofError::Signature);
        }
        self.claims()
    }
}

/// Checks verified claims.
pub(crate) fn check(claims: &JwtClaims, tenant: &TenantConfig, now: Timestamp) -> Result<Proof, ProofError> {
    if claims::text(claims, "iss") != Some(tenant.issuer()) {
        return Err(ProofError::Issuer);
    }
    let expires_at = time(claims, "exp")?.ok_or(ProofError::ClaimMissing)?;
    if now >= expires_at + tenant.expiry_leeway {
        return Err(ProofError::Expired);
    }
    // An ID token, a refresh token and a DPoP-bound access token say something else.
    if claims::text(claims, "typ") != Some("Bearer") {
        return Err(ProofError::Type);
    }
    let issued_at = begun(claims, tenant, now)?;
    // A user interface renews its token only when it has expired: at a job's start it is of any age up to its whole life.
    let most_age = tenant.max_proof_age.unwrap_or_else(|| expires_at.since(issued_at).min(MOST_AGE));
    if now.since(issued_at) > most_age {
        return Err(ProofError::TooOld);
    }
    let client = name(claims, "azp", ClientId::parse).ok_or(ProofError::Client)?;
    if client == tenant.client_id || !tenant.accepted_clients.contains(&client) {
        return Err(ProofError::Client);
    }
    let user = name(claims, &tenant.user_id_claim, UserId::parse).ok_or(ProofError::ClaimMissing)?;
    Ok(Proof {
        subject: subject(claims, &user)?,
        user,
        sid: name(claims, "sid", SessionId::parse).ok_or(ProofError::ClaimMissing)?,
        client,
        expires_at,
        scope: claims::text(claims, "scope").unwrap_or_default().to_owned(),
        privileged: claims::privileged(claims, tenant.is_master()),
    })
}

/// When the token was issued (`iat`), if it counts already: neither that nor `nbf` lies ahead further than clocks may differ.
pub(crate) fn begun(claims: &JwtClaims, tenant: &TenantConfig, now: Timestamp) -> Result<Timestamp, ProofError> {
    let issued_at = time(claims, "iat")?.ok_or(ProofError::ClaimMissing)?;
    let not_before = time(claims, "nbf")?.unwrap_or(issued_at);
    if issued_at.max(not_before) > now + tenant.clock_skew { Err(ProofError::NotYetValid) } else { Ok(issued_at) }
}

/// The `sub` claim. Where users are known by another one it may be a name, which has any characters and decides nothing: what
/// is no [`Subject`] gives way to the user id.
fn subject(claims: &JwtClaims, user: &UserId) -> Result<Subject, ProofError> {
    let text = claims::text(claims, "sub").filter(|text| !text.is_empty()).ok_or(ProofError::ClaimMissing)?;
    Subject::parse(text).or_else(|_| Subject::parse(user.as_str())).map_err(|_| ProofError::ClaimMissing)
}

fn name<T, E>(claims: &JwtClaims, claim: &str, parse: impl FnOnce(String) -> Result<T, E>) -> Option<T> {
    parse(claims::text(claims, claim)?.to_owned()).ok()
}

/// A `NumericDate` (RFC 7519 §2); fractions of a second are cut off.
pub(crate) fn time(claims: &JwtClaims, name: &str) -> Result<Option<Timestamp>, ProofError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_u64().or_else(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to lie within the range")]
        value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds)).map(|seconds| seconds as u64)
    });
    seconds.map(Timestamp::from_secs).map(Some).ok_or(ProofError::Malformed)
}

#[cfg(test)]
mod tests;
