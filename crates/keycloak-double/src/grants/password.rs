//! Login with the password grant (RFC 6749, section 4.3): how the user interface's session comes about here. Every
//! login is a session of its own.

use super::TokenRequest;
use crate::access::RequestSession;
use crate::answer::{Answer, RefusedRequest};
use crate::entropy;
use crate::issue::{Context, Extras, GrantMark, Issuer, Refreshable};
use crate::scopes::{self, Granted};
use crate::state::{UserSession, UserSessionKey};

pub(super) fn grant(issuer: &mut Issuer<'_>, request: &TokenRequest<'_>) -> Result<Answer, RefusedRequest> {
    let client = issuer.realm.clients.get(&request.client_id);
    if client.is_none_or(|c| !c.direct_access_grants) {
        return Err(RefusedRequest::new(400, "unauthorized_client", "Client not allowed for direct access grants"));
    }
    if client.is_some_and(|c| c.consent_required) {
        return Err(RefusedRequest::new(400, "invalid_client", "Client requires user consent"));
    }
    let scope = request.scope()?;
    let user = authenticated_user(issuer, request)?;

    let key = UserSessionKey::online(&entropy::session_id(issuer.entropy));
    let session = UserSession::new(key.clone(), &user, issuer.now_s());
    issuer.realm.sessions.insert(key.clone(), session);
    let (session, openid) = issuer.attach_client(RequestSession::Stored(key.clone()), &request.client_id, scope, false);
    let ctx = Context {
        session,
        user,
        client_id: request.client_id.clone(),
        granted: Granted::from_parameter(scope),
        openid,
        grant: GrantMark::Password,
        audience: Vec::new(),
    };
    let access = issuer.access(&ctx);
    let extras =
        Extras { refresh: Some(Refreshable::First), id_token: scopes::is_openid(scope), issued_token_type: None };
    let answer = issuer.answer(&ctx, &access, extras);
    if ctx.granted.offline() {
        issuer.realm.sessions.remove(&key);
    }
    Ok(answer)
}

fn authenticated_user(issuer: &Issuer<'_>, request: &TokenRequest<'_>) -> Result<String, RefusedRequest> {
    let wrong = || RefusedRequest::invalid_grant("Invalid user credentials");
    let Some(username) = request.field("username") else {
        return Err(RefusedRequest::new(401, "invalid_request", "Missing parameter: username"));
    };
    let user = issuer.realm.user_by_name(username).filter(|u| u.service_account_of.is_none()).ok_or_else(wrong)?;
    if request.field("password") != Some(user.config.password()) {
        return Err(wrong());
    }
    if !user.config.enabled {
        return Err(RefusedRequest::invalid_grant("Account disabled"));
    }
    Ok(user.id.clone())
}
