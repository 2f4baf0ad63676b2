//! What an answer means: pure functions from an HTTP answer, or its absence, to a result.
//!
//! The rule is that a definite no ([`GrantError::Refused`]) needs Keycloak's own words. Everything else that is not a
//! complete success leaves open whether the token was spent: a 5xx (Keycloak's database may have given up after the
//! rotation), HTML (a proxy spoke), half a JSON (the connection was cut).

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokenvault_core::ids::{AccountId, SessionId, UserId};
use tokenvault_core::ports::{CallError, Cause, Grant, GrantError, Introspection, Refusal};
use tokenvault_core::secret::{AccessToken, RefreshToken};

use crate::claims::{self, JwtClaims};
use crate::http::{HttpAnswer, HttpResult, TransportFailure};
use crate::operation::Operation;
use crate::tenant::TenantConfig;
use crate::words;

mod token;

use token::{TokenAnswer, Tokens};

/// An access token of the client's own.
#[derive(Debug, Clone)]
pub struct ServiceToken {
    /// The token.
    pub access: AccessToken,
    /// Its life.
    pub expires_in: Duration,
}

#[derive(Deserialize)]
struct ErrorAnswer {
    error: String,
    /// Optional, and for people (RFC 6749 §5.2).
    #[serde(default)]
    error_description: Value,
}

#[derive(Deserialize)]
struct IntrospectionAnswer {
    active: bool,
    #[serde(flatten)]
    claims: JwtClaims,
}

/// The claim with Keycloak's own id of the user, as `deploy/keycloak/setup.sh` has the vault's client map it (the property
/// `id`).
pub const ACCOUNT_CLAIM: &str = "keycloak_user_id";

#[derive(Deserialize)]
struct KeysAnswer {
    keys: Vec<Value>,
}

/// The pair that an exchange or an impersonation answered.
///
/// An access token that cannot be read leaves `account`, `user` and `sid` empty: the pair is real, and whoever compares
/// identities will not find its own. A token that is not for whoever bears it is of no use to a module; where it costs nothing
/// to do without, it is a refusal.
pub fn grant(operation: Operation, answer: HttpResult, tenant: &TenantConfig) -> Result<Grant, GrantError> {
    let tokens = tokens(operation, answer)?;
    match tokens.refresh.clone() {
        _ if operation != Operation::Refresh && !tokens.is_bearer => Err(GrantError::Refused(Refusal::NotBearer)),
        Some(refresh) => Ok(pair(tokens, refresh, tenant)),
        // An answer to a refresh without the token that was sent is read by `refreshed`.
        None if operation == Operation::Refresh => Err(GrantError::Unknown(Cause::Unintelligible)),
        // It is the server's to decide (RFC 8693 §2.2.1). Nothing was consumed to learn that.
        None => Err(GrantError::Refused(Refusal::NoRefreshToken)),
    }
}

/// The pair that a refresh answered. Where it has no new refresh token, the one that was sent is still the one to use (RFC 6749
/// §6); Keycloak's client policies can have it so (`suppress-refresh-token-rotation`). `token_type` is not looked at: the old
/// token may be spent, and throwing away a live pair would be worse.
pub fn refreshed(answer: HttpResult, sent: &RefreshToken, tenant: &TenantConfig) -> Result<Grant, GrantError> {
    let tokens = tokens(Operation::Refresh, answer)?;
    let refresh = tokens.refresh.clone().unwrap_or_else(|| sent.clone());
    Ok(pair(tokens, refresh, tenant))
}

fn tokens(operation: Operation, answer: HttpResult) -> Result<Tokens, GrantError> {
    let answer: TokenAnswer = success(operation, answer).and_then(|body| json(&body))?;
    Ok(answer.into())
}

fn pair(tokens: Tokens, refresh: RefreshToken, tenant: &TenantConfig) -> Grant {
    let claims = &tokens.claims;
    Grant {
        expires_in: tokens.expires_in,
        refresh_expires_in: tokens.life_of(&refresh),
        account: account(claims, tenant),
        user: parsed(claims, &tenant.user_id_claim, UserId::parse),
        sid: parsed(claims, "sid", SessionId::parse),
        privileged: claims::privileged(claims, tenant.is_master()),
        // Without a word, it is what was asked for (RFC 6749 §5.1).
        scope: tokens.scope.or_else(|| tenant.exchange_scope.clone()).unwrap_or_default(),
        access: tokens.access,
        refresh,
    }
}

/// Keycloak's own id of the user: what the vault's client maps as such. Where users are known by `sub`, that is the same
/// thing unless the realm maps something else onto it, and then only the mapped claim counts.
fn account(claims: &JwtClaims, tenant: &TenantConfig) -> Option<AccountId> {
    let mapped = parsed(claims, ACCOUNT_CLAIM, AccountId::parse);
    mapped.or_else(|| parsed(claims, "sub", AccountId::parse).filter(|_| tenant.user_id_claim == "sub"))
}

/// The client's own access token.
pub fn service_token(answer: HttpResult) -> Result<ServiceToken, GrantError> {
    let tokens = tokens(Operation::ServiceAccount, answer)?;
    Ok(ServiceToken { access: tokens.access, expires_in: tokens.expires_in })
}

/// Whether the introspected token is active.
pub fn probe(answer: HttpResult) -> Result<bool, CallError> {
    introspected(Operation::Probe, answer).map(|answer| answer.active)
}

/// Whether the introspected access token is active, and what its user may do.
pub fn introspection(answer: HttpResult, tenant: &TenantConfig) -> Result<Introspection, CallError> {
    let IntrospectionAnswer { active, claims } = introspected(Operation::Introspect, answer)?;
    let privilege = || claims::privilege(&claims, tenant.is_master());
    Ok(if active { Introspection::Active(privilege()) } else { Introspection::Inactive })
}

fn introspected(operation: Operation, answer: HttpResult) -> Result<IntrospectionAnswer, CallError> {
    let signed = answer.as_ref().is_ok_and(|answer| answer.content_type.as_deref().is_some_and(is_jwt));
    let answer =
        success(operation, answer).and_then(|body| if signed { signed_introspection(&body) } else { json(&body) });
    match answer {
        Ok(answer) => Ok(answer),
        Err(GrantError::Refused(Refusal::TokenInvalid)) => {
            Ok(IntrospectionAnswer { active: false, claims: JwtClaims::new() })
        }
        Err(error) => Err(no_answer(error)),
    }
}

/// An answer as a signed token (RFC 9701 §5), which a client may be registered for. Who answered is known from the connection.
fn signed_introspection(body: &[u8]) -> Result<IntrospectionAnswer, GrantError> {
    let claims = std::str::from_utf8(body).ok().and_then(|token| claims::unverified(token.trim()));
    let answer = claims.and_then(|mut claims| claims.remove("token_introspection"));
    answer.and_then(|answer| serde_json::from_value(answer).ok()).ok_or(GrantError::Unknown(Cause::Unintelligible))
}

/// Whether the token was revoked. A token that Keycloak does not know counts as revoked (RFC 7009 §2.2): it then answers
/// 200 with an error in the body. What is in the body does not matter, but for a page of HTML: that is somebody else's.
pub fn revoked(answer: HttpResult) -> Result<(), CallError> {
    let page = answer.as_ref().is_ok_and(|answer| answer.content_type.as_deref().is_some_and(is_html));
    let body = success(Operation::Revoke, answer).map_err(no_answer)?;
    let page = page || body.trim_ascii_start().starts_with(b"<");
    if page { Err(CallError::NoAnswer(Cause::Unintelligible)) } else { Ok(()) }
}

/// The keys of a key set, each still to be judged.
pub fn keys(answer: HttpResult) -> Result<Vec<Value>, Cause> {
    let answer = success(Operation::Jwks, answer).and_then(|body| json::<KeysAnswer>(&body));
    answer.map(|answer| answer.keys).map_err(cause)
}

/// The body of a 200, or what everything else means.
fn success(operation: Operation, answer: HttpResult) -> Result<Bytes, GrantError> {
    let answer = answer.map_err(|failure| match failure {
        TransportFailure::Connect => GrantError::Unsent(Cause::Connect),
        TransportFailure::Timeout => GrantError::Unknown(Cause::Timeout),
        TransportFailure::Interrupted => GrantError::Unknown(Cause::Interrupted),
        TransportFailure::TooLong => GrantError::Unknown(Cause::Unintelligible),
    })?;
    match answer.status {
        200 => Ok(answer.body),
        // Whoever stands in between may have sent it once and been turned away with its own second try.
        429 if operation == Operation::Refresh => Err(GrantError::Unknown(Cause::Throttled)),
        429 => Err(GrantError::Unsent(Cause::Throttled)),
        500.. => Err(GrantError::Unknown(Cause::ServerError)),
        // Somebody on the way takes no request of that size, and its size is the token's.
        413 | 414 | 431 if operation == Operation::Exchange => Err(GrantError::Refused(Refusal::TokenTooLong)),
        400 | 401 | 403 => Err(refusal(operation, &answer)),
        // Keycloak's 404 says that there is no such realm; a proxy with a wrong route says it too.
        _ => Err(GrantError::Unknown(Cause::Unintelligible)),
    }
}

fn refusal(operation: Operation, answer: &HttpAnswer) -> GrantError {
    let Ok(ErrorAnswer { error, error_description }) = json(&answer.body) else {
        return GrantError::Unknown(Cause::Unintelligible);
    };
    if ["server_error", "temporarily_unavailable", "unknown_error"].contains(&error.as_str()) {
        return GrantError::Unknown(Cause::ServerError);
    }
    match words::meaning(operation, answer.status, &error, error_description.as_str().unwrap_or_default()) {
        Some(refusal) => GrantError::Refused(refusal),
        None => GrantError::Unknown(Cause::Unintelligible),
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, GrantError> {
    serde_json::from_slice(body).map_err(|_| GrantError::Unknown(Cause::Unintelligible))
}

fn is_html(content_type: &str) -> bool {
    content_type.trim_start().to_ascii_lowercase().starts_with("text/html")
}

fn is_jwt(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/token-introspection+jwt")
}

fn parsed<T, E>(claims: &JwtClaims, name: &str, parse: impl FnOnce(String) -> Result<T, E>) -> Option<T> {
    parse(claims::text(claims, name)?.to_owned()).ok()
}

fn cause(error: GrantError) -> Cause {
    match error {
        GrantError::Unknown(cause) | GrantError::Unsent(cause) => cause,
        GrantError::Refused(_) => Cause::Unintelligible,
    }
}

/// Of a call that consumes nothing, only a refusal matters more than its absence.
pub(crate) fn no_answer(error: GrantError) -> CallError {
    match error {
        GrantError::Refused(refusal) => CallError::Refused(refusal),
        other => CallError::NoAnswer(cause(other)),
    }
}

/// A cause's word, for metrics and logs.
pub(crate) fn cause_code(cause: Cause) -> &'static str {
    match cause {
        Cause::Connect => "connect",
        Cause::Timeout => "timeout",
        Cause::Interrupted => "interrupted",
        Cause::ServerError => "server_error",
        Cause::Unintelligible => "unintelligible",
        Cause::Throttled => "throttled",
    }
}

#[cfg(test)]
mod tests;
