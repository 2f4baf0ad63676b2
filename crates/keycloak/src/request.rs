//! What is asked of Keycloak, as values. Nothing here sends anything.
//!
//! Secrets and tokens go into the form and nowhere else: never into a URL, which proxies and servers log.

use http::Method;
use tokenvault_core::ids::{AccountId, ClientId};
use tokenvault_core::secret::{AccessToken, ClientSecret, RefreshToken};
use url::Url;

use crate::http::{HttpRequest, Param};
use crate::tenant::Endpoints;

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";
const REFRESH_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:refresh_token";
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How a client proves itself in one request.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// Its secret.
    Secret(ClientSecret),
    /// A signed assertion, good for this one request.
    Assertion(ClientSecret),
}

/// A client at a realm's endpoints, with what proves it in the next request.
#[derive(Debug, Clone, Copy)]
pub struct RequestBuilder<'a> {
    /// The realm's endpoints.
    pub endpoints: &'a Endpoints,
    /// The client.
    pub client: &'a ClientId,
    /// Its proof.
    pub auth: &'a ClientAuth,
}

impl RequestBuilder<'_> {
    /// Standard token exchange (RFC 8693 §2.1): an access token for a pair in the same user session.
    pub fn exchange(&self, subject: &AccessToken, scope: Option<&str>) -> HttpRequest {
        self.post(
            &self.endpoints.token,
            [
                Some(Param::new("grant_type", TOKEN_EXCHANGE)),
                Some(Param::new("subject_token", subject.expose())),
                Some(Param::new("subject_token_type", ACCESS_TOKEN_TYPE)),
                Some(Param::new("requested_token_type", REFRESH_TOKEN_TYPE)),
                scope.map(|scope| Param::new("scope", scope)),
            ],
        )
    }

    /// The refresh grant (RFC 6749 §6).
    pub fn refresh(&self, token: &RefreshToken) -> HttpRequest {
        self.post(
            &self.endpoints.token,
            [Some(Param::new("grant_type", "refresh_token")), Some(Param::new("refresh_token", token.expose()))],
        )
    }

    /// The client's own access token (RFC 6749 §4.4).
    pub fn service_account(&self) -> HttpRequest {
        self.post(&self.endpoints.token, [Some(Param::new("grant_type", "client_credentials"))])
    }

    /// Keycloak's legacy exchange: the service account asks for a session of a user's, named by Keycloak's id.
    pub fn impersonate(&self, service: &AccessToken, account: &AccountId, scope: Option<&str>) -> HttpRequest {
        self.post(
            &self.endpoints.token,
            [
                Some(Param::new("grant_type", TOKEN_EXCHANGE)),
                Some(Param::new("subject_token", service.expose())),
                Some(Param::new("subject_token_type", ACCESS_TOKEN_TYPE)),
                Some(Param::new("requested_token_type", REFRESH_TOKEN_TYPE)),
                Some(Param::new("requested_subject", account.as_str())),
                scope.map(|scope| Param::new("scope", scope)),
            ],
        )
    }

    /// Introspection of a refresh token (RFC 7662 §2.1). Without the hint Keycloak always says that it is inactive.
    pub fn probe(&self, token: &RefreshToken) -> HttpRequest {
        self.with_token(&self.endpoints.introspection, token)
    }

    /// Introspection of an access token (RFC 7662 §2.1).
    pub fn introspect(&self, token: &AccessToken) -> HttpRequest {
        let form = [("token", token.expose()), ("token_type_hint", "access_token")];
        self.post(&self.endpoints.introspection, form.map(|(name, value)| Some(Param::new(name, value))))
    }

    /// Revocation of a refresh token (RFC 7009 §2.1).
    pub fn revoke(&self, token: &RefreshToken) -> HttpRequest {
        self.with_token(&self.endpoints.revocation, token)
    }

    /// Keycloak's logout. It ends the whole session: only for one that the vault has opened for nobody but itself.
    pub(crate) fn logout(&self, url: &Url, token: &RefreshToken) -> HttpRequest {
        self.post(url, [Some(Param::new("refresh_token", token.expose()))])
    }

    fn with_token(&self, url: &Url, token: &RefreshToken) -> HttpRequest {
        self.post(
            url,
            [Some(Param::new("token", token.expose())), Some(Param::new("token_type_hint", "refresh_token"))],
        )
    }

    fn post<const N: usize>(&self, url: &Url, own: [Option<Param>; N]) -> HttpRequest {
        let mut form = vec![Param::new("client_id", self.client.as_str())];
        match self.auth {
            ClientAuth::Secret(secret) => form.push(Param::new("client_secret", secret.expose())),
            ClientAuth::Assertion(jwt) => {
                form.push(Param::new("client_assertion_type", JWT_BEARER));
                form.push(Param::new("client_assertion", jwt.expose()));
            }
        }
        form.extend(own.into_iter().flatten());
        HttpRequest::new(Method::POST, url, form)
    }
}

/// The realm's key set (RFC 7517).
pub fn jwks(endpoints: &Endpoints) -> HttpRequest {
    HttpRequest::get(&endpoints.jwks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn form(build: impl FnOnce(RequestBuilder<'_>) -> HttpRequest) -> (String, String) {
        let (tenant, auth) = (testing::tenant(), ClientAuth::Secret(ClientSecret::new("s&=ü")));
        let caller = RequestBuilder { endpoints: tenant.endpoints(), client: &tenant.client_id, auth: &auth };
        let request = build(caller);
        assert!(request.url.query().is_none(), "nothing goes into the URL");
        (request.url.path().to_owned(), String::from_utf8(request.body().to_vec()).unwrap())
    }

    const CLIENT: &str = "client_id=vault&client_secret=s%26%3D%C3%BC";

    #[test]
    fn an_exchange_asks_for_a_refresh_token_of_an_access_token() {
        let (path, form) = form(|caller| caller.exchange(&AccessToken::new("at"), Some("openid x")));
        assert_eq!(path, "/realms/lab/protocol/openid-connect/token");
        assert_eq!(
            form,
            format!(
                "{CLIENT}&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=at\
                 &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
                 &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Arefresh_token&scope=openid+x"
            )
        );
    }

    #[test]
    fn a_refresh_names_the_grant_and_the_token() {
        let (_, form) = form(|caller| caller.refresh(&RefreshToken::new("rt")));
        assert_eq!(form, format!("{CLIENT}&grant_type=refresh_token&refresh_token=rt"));
    }

    #[test]
    fn an_impersonation_names_its_subject() {
        let account = AccountId::parse("7f0c").unwrap();
        let (_, form) = form(|caller| caller.impersonate(&AccessToken::new("svc"), &account, None));
        assert!(form.contains("&subject_token=svc&") && form.ends_with("&requested_subject=7f0c"), "{form}");
    }

    #[test]
    fn a_probe_gives_the_hint_without_which_keycloak_says_no() {
        let (path, form) = form(|caller| caller.probe(&RefreshToken::new("rt")));
        assert_eq!(path, "/realms/lab/protocol/openid-connect/token/introspect");
        assert_eq!(form, format!("{CLIENT}&token=rt&token_type_hint=refresh_token"));
    }

    #[test]
    fn an_introspection_gives_the_hint_as_well() {
        let (path, form) = form(|caller| caller.introspect(&AccessToken::new("at")));
        assert_eq!(path, "/realms/lab/protocol/openid-connect/token/introspect");
        assert_eq!(form, format!("{CLIENT}&token=at&token_type_hint=access_token"));
    }

    #[test]
    fn a_revocation_goes_to_the_revocation_endpoint_and_never_to_logout() {
        let (path, form) = form(|caller| caller.revoke(&RefreshToken::new("rt")));
        assert_eq!(path, "/realms/lab/protocol/openid-connect/revoke");
        assert_eq!(form, format!("{CLIENT}&token=rt&token_type_hint=refresh_token"));
    }

    #[test]
    fn an_assertion_takes_the_secrets_place() {
        let (tenant, auth) = (testing::tenant(), ClientAuth::Assertion(ClientSecret::new("a.b.c")));
        let caller = RequestBuilder { endpoints: tenant.endpoints(), client: &tenant.client_id, auth: &auth };
        let names: Vec<_> = caller.service_account().form.iter().map(|param| param.name).collect();
        assert_eq!(names, ["client_id", "client_assertion_type", "client_assertion", "grant_type"]);
    }

    #[test]
    fn debug_shows_no_secret() {
        let (tenant, auth) = (testing::tenant(), ClientAuth::Secret(ClientSecret::new("canary-1")));
        let caller = RequestBuilder { endpoints: tenant.endpoints(), client: &tenant.client_id, auth: &auth };
        let requests = [
            caller.refresh(&RefreshToken::new("canary-2")),
            caller.exchange(&AccessToken::new("canary-3"), None),
            caller.probe(&RefreshToken::new("canary-4")),
        ];
        let shown = format!("{caller:?} {requests:?}");
        assert!(!shown.contains("canary") && shown.contains("token_type_hint=refresh_token"), "{shown}");
    }
}
