//! Standard token exchange (RFC 8693): a live access token becomes a pair of the asking client's own, in the same user
//! session. It consumes nothing; each exchange begins a chain of its own.

use std::collections::BTreeSet;

use super::{ACCESS_TOKEN_TYPE, REFRESH_TOKEN_TYPE, TokenRequest, legacy_exchange};
use crate::access::{self, Passing, RequestSession, Subject};
use crate::answer::{Answer, RefusedRequest};
use crate::issue::{Context, Extras, GrantMark, Issuer, Refreshable};
use crate::scopes::{self, Granted};
use crate::token::{self, IssuedClaims};

/// What the client wants to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestedToken {
    AccessToken,
    RefreshToken,
}

impl RequestedToken {
    pub(super) fn token_type(self) -> &'static str {
        match self {
            Self::AccessToken => ACCESS_TOKEN_TYPE,
            Self::RefreshToken => REFRESH_TOKEN_TYPE,
        }
    }
}

/// As many characters a parameter may have that is not one of the user's own.
const LONGEST: usize = 20_000;

pub(super) fn grant(issuer: &mut Issuer<'_>, request: &TokenRequest<'_>) -> Result<Answer, RefusedRequest> {
    if request.field("subject_token").is_some_and(|token| token.len() > LONGEST) {
        return Err(RefusedRequest::invalid_request(
            "The size of OIDC parameter 'subject_token' is longer than allowed.",
        ));
    }
    match unsupported(issuer, request) {
        None => standard(issuer, request),
        Some(_) if request.features.token_exchange_v1 => legacy_exchange::grant(issuer, request),
        Some(why) => Err(RefusedRequest::invalid_request(why)),
    }
}

/// Why the standard exchange does not take this request; with the legacy feature on, that one takes it instead.
fn unsupported(issuer: &Issuer<'_>, request: &TokenRequest<'_>) -> Option<&'static str> {
    let enabled = issuer.realm.clients.get(&request.client_id).is_some_and(|c| c.standard_token_exchange);
    if request.field("requested_subject").is_some() {
        Some("Parameter 'requested_subject' is not supported for standard token exchange")
    } else if request.field("requested_issuer").is_some() {
        Some("Parameter 'requested_issuer' is not supported for standard token exchange")
    } else if request.field("subject_issuer").is_some() {
        Some("Parameter 'subject_issuer' is not supported for standard token exchange")
    } else if !enabled {
        Some("Standard token exchange is not enabled for the requested client")
    } else if request.field("subject_token").is_none() {
        Some("Parameter 'subject_token' required for standard token exchange")
    } else if request.field("subject_token_type").is_none() {
        Some("Parameter 'subject_token_type' required for standard token exchange")
    } else if request.field("subject_token_type") != Some(ACCESS_TOKEN_TYPE) {
        Some("Parameter 'subject_token' supports access tokens only")
    } else {
        None
    }
}

fn standard(issuer: &mut Issuer<'_>, request: &TokenRequest<'_>) -> Result<Answer, RefusedRequest> {
    let token = request.field("subject_token").unwrap_or_default();
    let subject = access::verify_subject(issuer.realm, request.features, token, issuer.now_ms)
        .ok_or_else(|| RefusedRequest::invalid_request("Invalid token"))?;
    let wanted = wanted(issuer, request)?;
    let audience = audience(issuer, request)?;
    for target in audience.iter().filter_map(|a| issuer.realm.clients.get(a)) {
        if !target.enabled {
            return Err(RefusedRequest::new(400, "invalid_client", "Client disabled"));
        }
    }
    within_audience(&subject.claims, &request.client_id)?;
    let scope = request.scope()?;
    let session = usable_session(issuer, subject.session.clone(), wanted)?;

    let missing_before = match &session {
        RequestSession::Stored(key) => {
            let kept = issuer.realm.sessions.get(key);
            kept.is_some_and(|s| !s.clients.contains_key(&request.client_id)).then(|| key.clone())
        }
        RequestSession::Transient(_) => None,
    };
    let passing = wanted == RequestedToken::AccessToken;
    let (session, openid) = issuer.attach_client(session, &request.client_id, scope, passing);
    let ctx = Context {
        session,
        user: subject.user.clone(),
        client_id: request.client_id.clone(),
        granted: Granted::from_parameter(scope),
        openid,
        grant: GrantMark::Exchange,
        audience,
    };
    let answer = issue(issuer, &ctx, &subject, wanted, scope);
    if let (Err(_), Some(key)) = (&answer, missing_before) {
        issuer.realm.detach(&key, &request.client_id);
    }
    answer
}

fn issue(
    issuer: &mut Issuer<'_>,
    ctx: &Context,
    subject: &Subject,
    wanted: RequestedToken,
    scope: Option<&str>,
) -> Result<Answer, RefusedRequest> {
    if wanted == RequestedToken::RefreshToken && ctx.granted.offline() {
        return Err(RefusedRequest::invalid_request("Scope offline_access not allowed for token exchange"));
    }
    if issuer.realm.clients.get(&ctx.client_id).is_some_and(|c| c.consent_required) {
        let words = format!("Missing consents for Token Exchange in client {}", ctx.client_id);
        return Err(RefusedRequest::invalid_scope(words));
    }
    remember_subject(issuer, ctx, &subject.claims);
    let access = issuer.access(ctx);
    let missing: Vec<_> = ctx.audience.iter().filter(|a| !access.aud.contains(a)).map(String::as_str).collect();
    if !missing.is_empty() {
        let words = format!("Requested audience not available: {}", missing.join(", "));
        return Err(RefusedRequest::invalid_request(words));
    }
    let extras = Extras {
        refresh: (wanted == RequestedToken::RefreshToken).then_some(Refreshable::First),
        id_token: scopes::is_openid(scope),
        issued_token_type: Some(wanted.token_type()),
    };
    Ok(issuer.answer(ctx, &access, extras))
}

fn wanted(issuer: &Issuer<'_>, request: &TokenRequest<'_>) -> Result<RequestedToken, RefusedRequest> {
    let client = issuer.realm.clients.get(&request.client_id);
    match request.field("requested_token_type") {
        None | Some(ACCESS_TOKEN_TYPE) => Ok(RequestedToken::AccessToken),
        Some(REFRESH_TOKEN_TYPE) if client.is_some_and(|c| c.exchange_refresh_tokens) => {
            Ok(RequestedToken::RefreshToken)
        }
        Some(_) => Err(RefusedRequest::invalid_request("requested_token_type unsupported")),
    }
}

/// The clients named by `audience`, each of which must exist.
pub(super) fn audience(issuer: &Issuer<'_>, request: &TokenRequest<'_>) -> Result<Vec<String>, RefusedRequest> {
    request
        .request
        .fields("audience")
        .map(|a| {
            let known = issuer.realm.clients.contains_key(a);
            known.then(|| a.to_owned()).ok_or_else(|| RefusedRequest::new(400, "invalid_client", "Audience not found"))
        })
        .collect()
}

/// Whoever holds the token may exchange it; anybody else must be named in its `aud`.
pub(super) fn within_audience(subject: &IssuedClaims, client_id: &str) -> Result<(), RefusedRequest> {
    if subject.azp == client_id || subject.aud.contains(client_id) {
        return Ok(());
    }
    Err(RefusedRequest::new(403, "access_denied", "Client is not within the token audience"))
}

/// A refresh token needs a session that is kept; an offline one lends itself for access tokens only.
fn usable_session(
    issuer: &Issuer<'_>,
    session: RequestSession,
    wanted: RequestedToken,
) -> Result<RequestSession, RefusedRequest> {
    let offline = match &session {
        RequestSession::Stored(key) if !key.offline => return Ok(session),
        RequestSession::Stored(key) => issuer.realm.sessions.get(key),
        RequestSession::Transient(_) => None,
    };
    if wanted == RequestedToken::RefreshToken {
        let words = "Refresh token not valid as requested_token_type because creating a new session is needed";
        return Err(RefusedRequest::invalid_request(words));
    }
    Ok(offline.map_or(session.clone(), |s| RequestSession::Transient(Passing::beside(s))))
}

/// Notes whose token was exchanged, so that revoking one of that client's tokens reaches this client session, too.
fn remember_subject(issuer: &mut Issuer<'_>, ctx: &Context, subject: &IssuedClaims) {
    let RequestSession::Stored(key) = &ctx.session else { return };
    let Some(session) = issuer.realm.sessions.get_mut(key) else { return };
    let inherited = match session.clients.get(&subject.azp) {
        Some(from) if token::issued_by_exchange(&subject.jti) => from.subject_clients.clone(),
        _ => BTreeSet::default(),
    };
    if let Some(client) = session.clients.get_mut(&ctx.client_id) {
        client.subject_clients.extend(inherited);
        client.subject_clients.insert(subject.azp.clone());
    }
}
