//! The legacy exchange (`--features=token-exchange:v1`) as far as a confidential client meets it: impersonation by
//! `requested_subject`, which opens a **new user session each time**, and the plain exchange that takes over where a
//! client may not use the standard one.

use super::exchange::{RequestedToken, audience, within_audience};
use super::{ACCESS_TOKEN_TYPE, REFRESH_TOKEN_TYPE, TokenRequest};
use crate::access::{self, RequestSession, Subject};
use crate::answer::{Answer, RefusedRequest};
use crate::config::RoleConfig;
use crate::entropy;
use crate::issue::{Context, Extras, GrantMark, Issuer, Refreshable};
use crate::scopes::{self, Granted};
use crate::state::{Impersonator, UserSession, UserSessionKey};

fn denied() -> RefusedRequest {
    RefusedRequest::new(403, "access_denied", "Client not allowed to exchange")
}

pub(super) fn grant(issuer: &mut Issuer<'_>, request: &TokenRequest<'_>) -> Result<Answer, RefusedRequest> {
    let Some(token) = request.field("subject_token") else {
        // Without a subject token Keycloak asks a part of itself that is only there with another feature.
        return Err(RefusedRequest::unknown_error());
    };
    if request.field("subject_token_type").is_some_and(|t| t != ACCESS_TOKEN_TYPE) {
        return Err(RefusedRequest::invalid_request("Invalid token type, must be access token"));
    }
    let subject = access::verify_subject(issuer.realm, request.features, token, issuer.now_ms)
        .ok_or_else(|| RefusedRequest::invalid_request("Invalid token"))?;
    let impersonated = request.field("requested_subject").map(|name| impersonate(issuer, &subject, name));
    let (user, session) = match impersonated.transpose()? {
        Some((user, key)) => (user, RequestSession::Stored(key)),
        None => (subject.user.clone(), subject.session.clone()),
    };
    let wanted = wanted(request)?;
    check_targets(issuer, request, &subject)?;
    let scope = scope(request, &subject);
    let (session, openid) = issuer.attach_client(session, &request.client_id, scope.as_deref(), false);
    if let (RequestSession::Stored(key), true) = (&session, request.field("requested_subject").is_some())
        && let Some(session) = issuer.realm.sessions.get_mut(key)
    {
        let username = issuer.realm.users.get(&subject.user).map(|u| u.config.username.clone());
        session.impersonator = Some(Impersonator { username, client_id: request.client_id.clone() });
    }
    let ctx = Context {
        session,
        user,
        client_id: request.client_id.clone(),
        granted: Granted::from_parameter(scope.as_deref()),
        openid,
        grant: GrantMark::LegacyExchange,
        audience: Vec::new(),
    };
    let access = issuer.access(&ctx);
    let kept = matches!(ctx.session, RequestSession::Stored(_));
    let wanted = if kept { wanted } else { RequestedToken::AccessToken };
    let extras = Extras {
        refresh: (wanted == RequestedToken::RefreshToken).then_some(Refreshable::First),
        id_token: openid,
        issued_token_type: Some(wanted.token_type()),
    };
    Ok(issuer.answer(&ctx, &access, extras))
}

/// Opens a session in another user's name, if the subject may. Names come before ids: where a user's *name* is
/// another user's id, the name wins.
fn impersonate(
    issuer: &mut Issuer<'_>,
    subject: &Subject,
    requested: &str,
) -> Result<(String, UserSessionKey), RefusedRequest> {
    let realm = &*issuer.realm;
    let user = realm
        .user_by_name(requested)
        .or_else(|| realm.users.get(requested))
        .filter(|u| u.config.enabled)
        .map(|u| u.id.clone())
        .ok_or_else(denied)?;
    if !realm.permits(&subject.user, &subject.claims.azp, &RoleConfig::management("impersonation")) {
        return Err(denied());
    }
    let key = UserSessionKey::online(&entropy::session_id(issuer.entropy));
    let session = UserSession::new(key.clone(), &user, issuer.now_s());
    issuer.realm.sessions.insert(key.clone(), session);
    Ok((user, key))
}

fn wanted(request: &TokenRequest<'_>) -> Result<RequestedToken, RefusedRequest> {
    match request.field("requested_token_type") {
        None | Some(REFRESH_TOKEN_TYPE) => Ok(RequestedToken::RefreshToken),
        Some(ACCESS_TOKEN_TYPE) => Ok(RequestedToken::AccessToken),
        Some(_) => Err(RefusedRequest::invalid_request("requested_token_type unsupported")),
    }
}

/// The client itself may be the target if it needs no consent and is named in the token; nobody else may.
fn check_targets(issuer: &Issuer<'_>, request: &TokenRequest<'_>, subject: &Subject) -> Result<(), RefusedRequest> {
    let mut targets = audience(issuer, request)?;
    if targets.is_empty() {
        targets.push(request.client_id.clone());
    }
    for target in &targets {
        if issuer.realm.clients.get(target).is_some_and(|c| c.consent_required) {
            return Err(RefusedRequest::new(400, "invalid_client", "Client requires user consent"));
        }
        if issuer.realm.clients.get(target).is_some_and(|c| !c.enabled) {
            return Err(RefusedRequest::new(400, "invalid_client", "Client disabled"));
        }
        if *target != request.client_id {
            return Err(denied());
        }
        within_audience(&subject.claims, &request.client_id)?;
    }
    Ok(())
}

/// The scopes of the subject token, narrowed to what is asked for and to what the client knows.
fn scope(request: &TokenRequest<'_>, subject: &Subject) -> Option<String> {
    let from = subject.claims.scope.as_deref();
    match (request.field("scope"), from) {
        (None, from) => from.map(scopes::known),
        (Some(asked), Some(from)) => Some(scopes::known(&scopes::narrowed(asked, from))),
        (Some(asked), None) => Some(asked.to_owned()),
    }
}
