//! Introspection (RFC 7662). With `token_type_hint=refresh_token` and by the owning client it is the harmless probe:
//! it tells whether a refresh token could still be used, and books nothing.

use serde_json::{Value, json};

use crate::access::{self, NoSession, RequestSession, find_session};
use crate::answer::{Answer, RefusedRequest, Request};
use crate::client_auth;
use crate::config::Features;
use crate::grants;
use crate::mapping::{self, Extent};
use crate::state::Realm;
use crate::token::{self, IssuedClaims, OFFLINE, Origin, REFRESH};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hint {
    AccessToken,
    RefreshToken,
}

/// Why there is nothing to tell.
enum Silence {
    Inactive,
    /// Keycloak stumbles over a session that an impersonation opened and whose client session is gone.
    Failed,
}

/// What is asked, by whom and when.
struct Question<'a> {
    asker: &'a str,
    token: &'a str,
    hint: Hint,
    features: Features,
    now_ms: u64,
}

pub(crate) fn introspect(
    realm: &mut Realm,
    features: Features,
    request: &Request,
    now_ms: u64,
) -> Result<Answer, RefusedRequest> {
    let asker = client_auth::authenticate(realm, request).map_err(|refusal| match refusal.error {
        "unauthorized_client" => RefusedRequest::new(401, "invalid_client", "Client authentication failed."),
        _ => refusal,
    })?;
    if request.repeats(&[]) {
        return Err(RefusedRequest::invalid_request("duplicated parameter"));
    }
    let Some(token) = request.field("token") else {
        return Err(RefusedRequest::invalid_request("Token not provided."));
    };
    let hint = match request.field("token_type_hint") {
        None | Some("access_token") => Hint::AccessToken,
        Some("refresh_token") => Hint::RefreshToken,
        Some(_) => return Err(RefusedRequest::invalid_request("Unsupported token type.")),
    };
    match describe(realm, &Question { asker: &asker, token, hint, features, now_ms }) {
        Ok(description) => Ok(Answer::json(200, &description)),
        Err(Silence::Inactive) => Ok(Answer::json(200, &json!({"active": false}))),
        Err(Silence::Failed) => Err(RefusedRequest::invalid_request("Failed to introspect token.")),
    }
}

fn describe(realm: &mut Realm, question: &Question<'_>) -> Result<Value, Silence> {
    let &Question { asker, token, hint, features, now_ms } = question;
    let claims = token::verify(token, &realm.keys, &realm.secret).ok_or(Silence::Inactive)?;
    realm.prune(claims.sid.as_deref(), now_ms);
    let known = realm.clients.get(&claims.azp).is_some_and(|c| c.enabled);
    let stale = claims.iat < realm.not_before || realm.revoked.contains_key(&claims.jti);
    if claims.iss != realm.issuer || claims.expired(now_ms / 1000) || stale || !known {
        return Err(Silence::Inactive);
    }
    let origin = match (hint, claims.typ.as_str()) {
        (Hint::AccessToken, _) => Origin::of_jti(&claims.jti),
        (Hint::RefreshToken, REFRESH) => Origin::Online,
        (Hint::RefreshToken, OFFLINE) => Origin::Offline,
        (Hint::RefreshToken, _) => return Err(Silence::Inactive),
    };
    let session = find_session(realm, features, &claims, origin, now_ms).map_err(|NoSession(_)| Silence::Inactive)?;
    let user = session.user(realm).filter(|u| access::user_valid(realm, u, &claims)).ok_or(Silence::Inactive)?;
    match hint {
        Hint::RefreshToken => {
            check_reuse(realm, &session, &claims)?;
            if claims.azp != asker {
                return Err(Silence::Inactive);
            }
        }
        Hint::AccessToken if !is_for(realm, user, &claims, asker) => return Err(Silence::Inactive),
        Hint::AccessToken => {}
    }
    Ok(description(realm, &session, user, &claims))
}

fn check_reuse(realm: &Realm, session: &RequestSession, claims: &IssuedClaims) -> Result<(), Silence> {
    if !realm.settings.revoke_refresh_token {
        return Ok(());
    }
    let RequestSession::Stored(key) = session else { return Ok(()) };
    let client = realm.sessions.get(key).and_then(|s| s.clients.get(&claims.azp)).ok_or(Silence::Failed)?;
    let max_reuse = realm.settings.refresh_token_max_reuse;
    grants::check_reuse(client, claims, max_reuse).map_err(|_| Silence::Inactive)
}

fn whole(realm: &Realm, user: &str, claims: &IssuedClaims) -> IssuedClaims {
    let mut whole = claims.clone();
    mapping::describe(realm, &claims.azp, user, Extent::Whole, &mut whole);
    whole
}

/// Whether an access token is for a client. One that names nobody, as lightweight ones may, is for those whom its client's
/// mappers name elsewhere.
fn is_for(realm: &Realm, user: &str, claims: &IssuedClaims, asker: &str) -> bool {
    if claims.aud.is_empty() { whole(realm, user, claims).aud.contains(asker) } else { claims.aud.contains(asker) }
}

/// What the token says and what it hides, as things stand by now and as its own client gets to see them.
fn description(realm: &Realm, session: &RequestSession, user: &str, claims: &IssuedClaims) -> Value {
    let mut description = serde_json::to_value(whole(realm, user, claims)).unwrap_or(Value::Null);
    description["active"] = json!(true);
    description["client_id"] = json!(claims.azp);
    description["token_type"] = json!(claims.typ);
    if let Some(user) = realm.users.get(user) {
        description["username"] = json!(user.config.username);
    }
    if let RequestSession::Stored(key) = session
        && let Some(actor) = realm.sessions.get(key).and_then(|s| s.impersonator.as_ref()?.username.clone())
    {
        description["act"] = json!({"sub": actor});
    }
    description
}
