//! Revocation (RFC 7009). A refresh token takes its client session along, spent or not; any token takes along the
//! client sessions that were exchanged from its client's tokens.

use crate::access::find_session;
use crate::answer::{Answer, RefusedRequest, Request};
use crate::client_auth;
use crate::config::Features;
use crate::state::{Realm, UserSessionKey};
use crate::token::{self, BEARER, IssuedClaims, OFFLINE, Origin, REFRESH};

pub(crate) fn revoke(
    realm: &mut Realm,
    features: Features,
    request: &Request,
    now_ms: u64,
) -> Result<Answer, RefusedRequest> {
    let client_id = client_auth::authenticate(realm, request)?;
    if request.repeats(&[]) {
        return Err(RefusedRequest::invalid_request("duplicated parameter"));
    }
    let Some(token) = request.field("token") else {
        return Err(RefusedRequest::invalid_request("Token not provided"));
    };
    // RFC 7009 has a server answer 200 to a token it does not know; Keycloak does, with an error in the body.
    let invalid = || RefusedRequest::new(200, "invalid_token", "Invalid token");
    let claims = token::verify(token, &realm.keys, &realm.secret).ok_or_else(invalid)?;
    realm.prune(claims.sid.as_deref(), now_ms);
    if ![BEARER, REFRESH, OFFLINE].contains(&claims.typ.as_str()) {
        return Err(RefusedRequest::new(400, "unsupported_token_type", "Unsupported token type"));
    }
    if claims.azp != client_id {
        return Err(RefusedRequest::invalid_request("Unmatching clients"));
    }
    find_session(realm, features, &claims, Origin::of_jti(&claims.jti), now_ms).map_err(|_| invalid())?;
    if claims.typ == BEARER {
        revoke_access_token(realm, &claims, now_ms / 1000);
    } else {
        revoke_client_session(realm, &claims);
    }
    Ok(Answer::empty(200))
}

fn revoke_access_token(realm: &mut Realm, claims: &IssuedClaims, now_s: u64) {
    let forget = claims.exp.unwrap_or(now_s).max(now_s + 10) + 1;
    realm.revoked.insert(claims.jti.clone(), forget);
    if let Some(sid) = &claims.sid {
        detach_exchanged(realm, &UserSessionKey::online(sid), &claims.azp);
    }
}

fn revoke_client_session(realm: &mut Realm, claims: &IssuedClaims) {
    let sid = claims.sid.as_deref().unwrap_or_default();
    if claims.typ == OFFLINE {
        let key = UserSessionKey::offline(sid);
        realm.detach(&key, &claims.azp);
        drop_if_empty(realm, &key);
    }
    let key = UserSessionKey::online(sid);
    if realm.sessions.get(&key).is_some_and(|s| s.clients.contains_key(&claims.azp)) {
        realm.detach(&key, &claims.azp);
        detach_exchanged(realm, &key, &claims.azp);
        drop_if_empty(realm, &key);
    }
}

/// Detaches the client sessions into which a token of `client_id` was exchanged.
fn detach_exchanged(realm: &mut Realm, key: &UserSessionKey, client_id: &str) {
    if let Some(session) = realm.sessions.get_mut(key) {
        session.clients.retain(|_, c| !c.subject_clients.contains(client_id));
    }
}

fn drop_if_empty(realm: &mut Realm, key: &UserSessionKey) {
    if realm.sessions.get(key).is_some_and(|s| s.clients.is_empty()) {
        realm.sessions.remove(key);
    }
}
