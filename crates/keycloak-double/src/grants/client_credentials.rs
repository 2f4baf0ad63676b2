//! The client acts for itself (RFC 6749, section 4.4). No session is kept and no refresh token given.

use super::TokenRequest;
use crate::access::{Passing, RequestSession};
use crate::answer::{Answer, RefusedRequest};
use crate::issue::{Context, Extras, GrantMark, Issuer};
use crate::scopes::{self, Granted};

pub(super) fn grant(issuer: &mut Issuer<'_>, request: &TokenRequest<'_>) -> Result<Answer, RefusedRequest> {
    let Some(account) = issuer.realm.service_account_of(&request.client_id) else {
        let words = "Client not enabled to retrieve service account";
        return Err(RefusedRequest::new(401, "unauthorized_client", words));
    };
    let user = account.id.clone();
    let scope = request.scope()?;
    let ctx = Context {
        session: RequestSession::Transient(Passing::sessionless(&user, issuer.now_s())),
        user,
        client_id: request.client_id.clone(),
        granted: Granted::from_parameter(scope),
        openid: scopes::is_openid(scope),
        grant: GrantMark::ClientCredentials,
        audience: Vec::new(),
    };
    let access = issuer.access(&ctx);
    Ok(issuer.answer(&ctx, &access, Extras { id_token: ctx.openid, ..Extras::default() }))
}
