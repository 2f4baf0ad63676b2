//! Is this token good, and which session does it stand for? The one place where an access token's age is held
//! against its session, and where a stale one costs the user the whole session.

use crate::config::Features;
use crate::state::{Realm, UserSession, UserSessionKey};
use crate::token::{self, BEARER, IssuedClaims, Origin};

/// The session behind a request.
#[derive(Debug, Clone)]
pub(crate) enum RequestSession {
    /// One that the realm stores.
    Stored(UserSessionKey),
    /// One that exists for a single answer only.
    Transient(Passing),
}

/// A session nobody keeps: of a service account, or a real user session seen through a client session made up for
/// one answer.
#[derive(Debug, Clone)]
pub(crate) struct Passing {
    pub(crate) sid: Option<String>,
    pub(crate) user: String,
    pub(crate) origin: Origin,
    pub(crate) started: u64,
}

impl Passing {
    /// A service account's, or any other token's that never had a session.
    pub(crate) fn sessionless(user: &str, now_s: u64) -> Self {
        Self { sid: None, user: user.to_owned(), origin: Origin::Transient, started: now_s }
    }

    /// A kept user session with a client session that is not kept.
    pub(crate) fn beside(session: &UserSession) -> Self {
        let origin = if session.key.offline { Origin::OfflineTransientClient } else { Origin::OnlineTransientClient };
        Self { sid: Some(session.key.sid.clone()), user: session.user.clone(), origin, started: session.started }
    }
}

impl RequestSession {
    pub(crate) fn user<'a>(&'a self, realm: &'a Realm) -> Option<&'a str> {
        match self {
            Self::Stored(key) => realm.sessions.get(key).map(|s| s.user.as_str()),
            Self::Transient(passing) => Some(&passing.user),
        }
    }
}

/// No session stands behind the token. Where one was found and then refused, it is named.
#[derive(Debug)]
pub(crate) struct NoSession(pub(crate) Option<UserSessionKey>);

/// Finds the session a token stands for. `origin` says where to look: access tokens tell by their id, refresh tokens
/// by their type.
pub(crate) fn find_session(
    realm: &Realm,
    features: Features,
    claims: &IssuedClaims,
    origin: Origin,
    now_ms: u64,
) -> Result<RequestSession, NoSession> {
    let Some(sid) = &claims.sid else { return sessionless(realm, claims, origin, now_ms) };
    let mut refused = None;
    if origin.looks_online() {
        let key = UserSessionKey::online(sid);
        let mut session = candidate(realm, &key, claims, origin)?;
        if session.is_none() && !origin.transient_client() && features.token_exchange_v1 {
            session =
                realm.sessions.get(&key).filter(|s| s.impersonator.as_ref().is_some_and(|i| i.client_id == claims.azp));
        }
        match alive(realm, session, claims, origin, now_ms)? {
            Some(attached) => return Ok(attached),
            None => refused = session.map(|s| s.key.clone()),
        }
    }
    if origin.looks_offline() {
        let session = candidate(realm, &UserSessionKey::offline(sid), claims, origin)?;
        match alive(realm, session, claims, origin, now_ms)? {
            Some(attached) => return Ok(attached),
            None => refused = refused.or(session.map(|s| s.key.clone())),
        }
    }
    Err(NoSession(refused))
}

fn sessionless(realm: &Realm, claims: &IssuedClaims, origin: Origin, now_ms: u64) -> Result<RequestSession, NoSession> {
    if !matches!(origin, Origin::Transient | Origin::Unknown) {
        return Err(NoSession(None));
    }
    let by_id = claims.sub.as_ref().and_then(|sub| realm.users.get(sub));
    let by_name = || {
        let name = claims.extra.get("preferred_username")?.as_str()?;
        realm.user_by_name(name)
    };
    match by_id.or_else(by_name) {
        Some(user) if user.config.enabled => {
            Ok(RequestSession::Transient(Passing::sessionless(&user.id, now_ms / 1000)))
        }
        _ => Err(NoSession(None)),
    }
}

fn candidate<'a>(
    realm: &'a Realm,
    key: &UserSessionKey,
    claims: &IssuedClaims,
    origin: Origin,
) -> Result<Option<&'a UserSession>, NoSession> {
    let Some(session) = realm.sessions.get(key) else { return Ok(None) };
    if origin.transient_client() {
        return Ok(Some(session));
    }
    match session.clients.get(&claims.azp) {
        None => Ok(None),
        Some(client) if claims.issued_before(client.started) => Err(NoSession(Some(key.clone()))),
        Some(_) => Ok(Some(session)),
    }
}

fn alive(
    realm: &Realm,
    session: Option<&UserSession>,
    claims: &IssuedClaims,
    origin: Origin,
    now_ms: u64,
) -> Result<Option<RequestSession>, NoSession> {
    let Some(session) = session.filter(|s| s.alive(&realm.settings, now_ms)) else { return Ok(None) };
    if claims.issued_before(session.started) {
        return Err(NoSession(Some(session.key.clone())));
    }
    Ok(Some(if origin.transient_client() {
        RequestSession::Transient(Passing::beside(session))
    } else {
        RequestSession::Stored(session.key.clone())
    }))
}

/// A subject token that passed every check.
pub(crate) struct Subject {
    pub(crate) claims: IssuedClaims,
    pub(crate) user: String,
    pub(crate) session: RequestSession,
}

/// Checks an access token that is offered for exchange.
///
/// A token older than the client session that now stands in its place ends the **whole user session**; every other
/// failure is harmless.
pub(crate) fn verify_subject(realm: &mut Realm, features: Features, token: &str, now_ms: u64) -> Option<Subject> {
    let claims = token::verify(token, &realm.keys, &realm.secret)?;
    realm.prune(claims.sid.as_deref(), now_ms);
    let stale = claims.iat < realm.not_before;
    let revoked = realm.revoked.contains_key(&claims.jti);
    if claims.iss != realm.issuer || claims.typ != BEARER || claims.expired(now_ms / 1000) || stale || revoked {
        return None;
    }
    let enabled = realm.clients.get(&claims.azp)?.enabled;
    let origin = Origin::of_jti(&claims.jti);
    let session = match find_session(realm, features, &claims, origin, now_ms) {
        Ok(session) => session,
        Err(NoSession(found)) => {
            if let Some(key) = found.filter(|k| !k.offline) {
                realm.end(&key);
            }
            return None;
        }
    };
    if let RequestSession::Stored(key) = &session
        && !realm.sessions.get(key).is_some_and(|s| s.clients.contains_key(&claims.azp))
    {
        return None;
    }
    let user = session.user(realm)?.to_owned();
    (enabled && user_valid(realm, &user, &claims)).then_some(Subject { claims, user, session })
}

/// Whether the user exists, is enabled, and was not logged out after the token was issued.
pub(crate) fn user_valid(realm: &Realm, user: &str, claims: &IssuedClaims) -> bool {
    realm.users.get(user).is_some_and(|u| u.config.enabled && claims.iat >= u.not_before)
}
