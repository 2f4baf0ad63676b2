//! The token endpoint: one file a grant. Each takes the request as it came and either answers or refuses in
//! Keycloak's words; what a refusal leaves behind (a detached session, an ended one) is part of the behaviour.

mod client_credentials;
mod exchange;
mod legacy_exchange;
mod password;
mod refresh;

pub(crate) use refresh::{check_reuse, verify_any_age};

use crate::answer::{Answer, RefusedRequest, Request};
use crate::client_auth;
use crate::config::Features;
use crate::issue::Issuer;
use crate::scopes;

/// `requested_token_type` and `issued_token_type`.
pub(crate) const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
/// `requested_token_type` and `issued_token_type`.
pub(crate) const REFRESH_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:refresh_token";
/// `grant_type` of RFC 8693.
pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A request at the token endpoint whose client proved itself.
pub(crate) struct TokenRequest<'a> {
    pub(crate) request: &'a Request,
    pub(crate) client_id: String,
    pub(crate) features: Features,
}

impl TokenRequest<'_> {
    fn field(&self, name: &str) -> Option<&str> {
        self.request.field(name)
    }

    /// The `scope` parameter, if the client may ask for it.
    fn scope(&self) -> Result<Option<&str>, RefusedRequest> {
        let scope = self.field("scope");
        if scopes::valid(scope) {
            return Ok(scope);
        }
        Err(RefusedRequest::invalid_scope(format!("Invalid scopes: {}", scope.unwrap_or_default())))
    }
}

/// Answers a request at the token endpoint.
pub(crate) fn token(issuer: &mut Issuer<'_>, features: Features, request: &Request) -> Result<Answer, RefusedRequest> {
    type Handler = fn(&mut Issuer<'_>, &TokenRequest<'_>) -> Result<Answer, RefusedRequest>;
    let Some(grant) = request.field("grant_type") else {
        return Err(RefusedRequest::invalid_request("Missing form parameter: grant_type"));
    };
    let (handler, repeatable): (Handler, &[&str]) = match grant {
        "password" => (password::grant, &[]),
        "client_credentials" => (client_credentials::grant, &[]),
        "refresh_token" => (refresh::grant, &[]),
        TOKEN_EXCHANGE => (exchange::grant, &["audience", "resource"]),
        _ => return Err(RefusedRequest::new(400, "unsupported_grant_type", "Unsupported grant_type")),
    };
    let client_id = client_auth::authenticate(issuer.realm, request)?;
    if request.repeats(repeatable) {
        return Err(RefusedRequest::invalid_request("duplicated parameter"));
    }
    handler(issuer, &TokenRequest { request, client_id, features })
}
