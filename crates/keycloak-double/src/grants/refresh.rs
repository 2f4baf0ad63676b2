//! The refresh grant (RFC 6749, section 6) with Keycloak's rotation: a chain of tokens of which the newest is good, and
//! a client session that is detached, with everything in it, as soon as a spent one comes back.

use super::TokenRequest;
use crate::access::RequestSession;
use crate::answer::{Answer, RefusedRequest};
use crate::issue::{Context, Extras, GrantMark, Issuer, Refreshable};
use crate::scopes::{self, Granted};
use crate::state::{ClientSession, Realm, UserSessionKey};
use crate::token::{self, IssuedClaims, OFFLINE, REFRESH};

pub(super) fn grant(issuer: &mut Issuer<'_>, request: &TokenRequest<'_>) -> Result<Answer, RefusedRequest> {
    let Some(token) = request.field("refresh_token") else {
        return Err(RefusedRequest::invalid_request("No refresh token"));
    };
    let scope = request.scope()?;
    let client_id = &request.client_id;
    let old = verify(issuer.realm, token)?;
    check_age(issuer.realm, &old, issuer.now_s())?;
    if old.azp != *client_id {
        return Err(foreign());
    }
    let old_scope = match scope {
        Some(scope) if !scope.is_empty() => scopes::narrowed(old.scope.as_deref().unwrap_or_default(), scope),
        _ => old.scope.clone().unwrap_or_default(),
    };
    let key = live_client_session(issuer, client_id, &old)?;
    let user = issuer.realm.sessions.get(&key).map(|s| s.user.clone()).unwrap_or_default();
    let user_not_before = issuer.realm.users.get(&user).map_or(0, |u| u.not_before);
    if old.iat < issuer.realm.not_before.max(user_not_before) {
        return Err(RefusedRequest::invalid_grant("Stale token"));
    }
    if issuer.realm.clients.get(client_id).is_some_and(|c| c.consent_required) {
        return Err(RefusedRequest::invalid_scope("Client no longer has requested consent from user"));
    }
    spend(issuer.realm, &key, client_id, &old)?;

    let id_token = client_session(issuer.realm, &key, client_id).is_some_and(|c| scopes::is_openid(c.scope.as_deref()));
    let ctx = Context {
        session: RequestSession::Stored(key),
        user,
        client_id: client_id.clone(),
        granted: Granted::from_parameter(Some(&old_scope)),
        openid: scopes::is_openid(Some(&old_scope)),
        grant: GrantMark::Refresh,
        audience: Vec::new(),
    };
    let access = issuer.access(&ctx);
    let extras = Extras { refresh: Some(Refreshable::After(Box::new(old))), id_token, issued_token_type: None };
    Ok(issuer.answer(&ctx, &access, extras))
}

/// A refresh token of this realm and of this client, whatever its age; used by logout too.
pub(crate) fn verify_any_age(realm: &Realm, client_id: &str, token: &str) -> Result<IssuedClaims, RefusedRequest> {
    let claims = verify(realm, token)?;
    if claims.azp != client_id {
        return Err(foreign());
    }
    Ok(claims)
}

fn verify(realm: &Realm, token: &str) -> Result<IssuedClaims, RefusedRequest> {
    token::verify(token, &realm.keys, &realm.secret)
        .filter(|c| (c.typ == REFRESH || c.typ == OFFLINE) && c.iss == realm.issuer)
        .ok_or_else(|| RefusedRequest::invalid_grant("Invalid refresh token"))
}

fn foreign() -> RefusedRequest {
    RefusedRequest::invalid_grant("Invalid refresh token. Token client and authorized client don't match")
}

fn check_age(realm: &Realm, claims: &IssuedClaims, now_s: u64) -> Result<(), RefusedRequest> {
    if claims.iat < realm.not_before {
        return Err(RefusedRequest::invalid_grant("Stale token"));
    }
    if claims.expired(now_s) {
        return Err(RefusedRequest::invalid_grant("Token is not active"));
    }
    Ok(())
}

/// The session whose client session the token belongs to, in Keycloak's order of questions.
fn live_client_session(
    issuer: &mut Issuer<'_>,
    client_id: &str,
    old: &IssuedClaims,
) -> Result<UserSessionKey, RefusedRequest> {
    let realm = &mut *issuer.realm;
    realm.prune(old.sid.as_deref(), issuer.now_ms);
    let sid = old.sid.as_deref().unwrap_or_default();
    let offline = old.typ == OFFLINE;
    let key = if offline { UserSessionKey::offline(sid) } else { UserSessionKey::online(sid) };
    if offline && !realm.sessions.contains_key(&key) {
        return Err(RefusedRequest::invalid_grant("Offline user session not found"));
    }
    let Some(session) = realm.live_session(&key, issuer.now_ms) else {
        realm.end(&key);
        let words = if offline { "Offline session not active" } else { "Session not active" };
        return Err(RefusedRequest::invalid_grant(words));
    };
    if !realm.users.get(&session.user).is_some_and(|u| u.config.enabled) {
        return Err(RefusedRequest::invalid_grant("User disabled"));
    }
    if old.issued_before(session.started) {
        return Err(RefusedRequest::invalid_grant("Refresh token issued before the user session started"));
    }
    let Some(client) = session.clients.get(client_id) else {
        return Err(RefusedRequest::invalid_grant("Session doesn't have required client"));
    };
    if old.issued_before(client.started) {
        return Err(RefusedRequest::invalid_grant("refresh token issued before the client session started"));
    }
    Ok(key)
}

/// Books the use of a token, or detaches the client session because the token was spent before.
fn spend(realm: &mut Realm, key: &UserSessionKey, client_id: &str, old: &IssuedClaims) -> Result<(), RefusedRequest> {
    if !realm.settings.revoke_refresh_token {
        return Ok(());
    }
    let max_reuse = realm.settings.refresh_token_max_reuse;
    let client = realm.sessions.get_mut(key).and_then(|s| s.clients.get_mut(client_id));
    let Some(client) = client else { return Ok(()) };
    if let Err(words) = check_reuse(client, old, max_reuse) {
        realm.detach(key, client_id);
        return Err(RefusedRequest::invalid_grant(words));
    }
    let chain = client.chains.entry(old.chain()).or_default();
    if chain.spent.as_deref() != Some(&old.jti) {
        chain.spent = Some(old.jti.clone());
        chain.uses = 0;
    }
    chain.uses += 1;
    Ok(())
}

/// Whether a token may still be used, without booking anything: the question the probe asks as well.
///
/// The comparison is in whole seconds, so a token spent and rotated on within one second may come back once more.
pub(crate) fn check_reuse(client: &ClientSession, token: &IssuedClaims, max_reuse: u32) -> Result<(), &'static str> {
    let Some(chain) = client.chains.get(&token.chain()) else { return Ok(()) };
    let Some(spent) = &chain.spent else { return Ok(()) };
    if *spent != token.jti {
        return if token.iat < chain.last_refresh { Err("Stale token") } else { Ok(()) };
    }
    if chain.uses > max_reuse {
        return Err("Maximum allowed refresh token reuse exceeded");
    }
    Ok(())
}

fn client_session<'a>(realm: &'a Realm, key: &UserSessionKey, client_id: &str) -> Option<&'a ClientSession> {
    realm.sessions.get(key).and_then(|s| s.clients.get(client_id))
}
