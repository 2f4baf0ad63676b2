//! Logout with a refresh token. It ends the whole user session, whoever the other clients in it are, and it does not
//! mind how old or how spent the token is.

use crate::answer::{Answer, RefusedRequest, Request};
use crate::client_auth;
use crate::grants;
use crate::state::{Realm, UserSessionKey};
use crate::token::OFFLINE;

/// What stands where a browser would be asked whether it means it.
const PAGE: &str = "<!DOCTYPE html>\n<html><body><p>Do you want to log out?</p></body></html>\n";

pub(crate) fn logout(realm: &mut Realm, request: &Request) -> Result<Answer, RefusedRequest> {
    let Some(token) = request.field("refresh_token") else { return Ok(Answer::html(200, PAGE)) };
    let client_id = client_auth::authenticate(realm, request)?;
    let claims = grants::verify_any_age(realm, &client_id, token)?;
    let sid = claims.sid.as_deref().unwrap_or_default();
    let key = if claims.typ == OFFLINE { UserSessionKey::offline(sid) } else { UserSessionKey::online(sid) };
    if let Some(session) = realm.sessions.get(&key) {
        if claims.issued_before(session.started) {
            return Err(RefusedRequest::invalid_grant("Toked issued before the user session started"));
        }
        realm.end(&key);
    }
    Ok(Answer::empty(204))
}
