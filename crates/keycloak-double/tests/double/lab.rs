//! A laboratory around the pure machine: one realm, time that stands still until it is moved, and short words for the
//! requests of a holder of tokens.
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::OnceLock;

use base64::Engine as _;
use keycloak_double::{Answer, Features, Keycloak, RealmConfig, Request, SeededEntropy, SigningKey};
use serde_json::Value;

pub(crate) const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// One key for every test: making one takes longer than all of a test.
pub(crate) fn key() -> SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::generate().unwrap()).clone()
}

pub(crate) struct Lab {
    pub(crate) keycloak: Keycloak,
    pub(crate) now_ms: u64,
}

#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        Self::with(|realm| realm)
    }

    pub(crate) fn with(change: impl FnOnce(RealmConfig) -> RealmConfig) -> Self {
        Self::with_features(Features::default(), change)
    }

    pub(crate) fn with_features(features: Features, change: impl FnOnce(RealmConfig) -> RealmConfig) -> Self {
        Self::of_with(features, change(RealmConfig::lab("lab")))
    }

    /// Around a realm named `lab`.
    pub(crate) fn of(realm: RealmConfig) -> Self {
        Self::of_with(Features::default(), realm)
    }

    fn of_with(features: Features, realm: RealmConfig) -> Self {
        let mut keycloak = Keycloak::new("http://kc", features, SeededEntropy::new(1));
        keycloak.add_realm(realm.signing_key(key())).unwrap();
        Self { keycloak, now_ms: 1_800_000_000_000 }
    }

    pub(crate) fn seconds(&mut self, seconds: u64) {
        self.now_ms += seconds * 1000;
    }

    pub(crate) fn post(&mut self, endpoint: &str, client: &str, form: &[(&str, &str)]) -> Answer {
        let secret = format!("{client}-secret");
        let mut all = vec![("client_id", client), ("client_secret", secret.as_str())];
        all.extend_from_slice(form);
        let path = format!("/realms/lab/protocol/openid-connect/{endpoint}");
        self.keycloak.handle(self.now_ms, &Request::post(path, all))
    }

    pub(crate) fn login_answer(&mut self, scope: &str) -> Answer {
        let form =
            [("grant_type", "password"), ("username", "alice"), ("password", "alice-password"), ("scope", scope)];
        self.post("token", "login-app", &form)
    }

    pub(crate) fn login(&mut self) -> Pair {
        pair(&self.login_answer("openid"))
    }

    pub(crate) fn refresh(&mut self, client: &str, token: &str) -> Answer {
        self.post("token", client, &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    pub(crate) fn exchange_with(&mut self, access: &str, wanted: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", access),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", wanted),
        ];
        form.extend_from_slice(more);
        self.post("token", "tokenvault", &form)
    }

    pub(crate) fn exchange(&mut self, access: &str) -> Answer {
        self.exchange_with(access, REFRESH_TOKEN, &[])
    }

    pub(crate) fn service_token(&mut self) -> String {
        let answer = self.post("token", "tokenvault", &[("grant_type", "client_credentials")]);
        answer.value()["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn impersonate(&mut self, user: &str) -> Answer {
        let service = self.service_token();
        let form = [
            ("grant_type", EXCHANGE),
            ("subject_token", service.as_str()),
            ("requested_subject", user),
            ("requested_token_type", REFRESH_TOKEN),
        ];
        self.post("token", "tokenvault", &form)
    }

    pub(crate) fn probe_answer(&mut self, client: &str, refresh: &str) -> Answer {
        self.post("token/introspect", client, &[("token", refresh), ("token_type_hint", "refresh_token")])
    }

    pub(crate) fn probe(&mut self, client: &str, refresh: &str) -> bool {
        self.probe_answer(client, refresh).value()["active"].as_bool().unwrap()
    }

    pub(crate) fn introspect(&mut self, client: &str, token: &str) -> bool {
        self.post("token/introspect", client, &[("token", token)]).value()["active"].as_bool().unwrap()
    }

    pub(crate) fn revoke(&mut self, client: &str, token: &str) -> Answer {
        self.post("revoke", client, &[("token", token)])
    }

    pub(crate) fn logout(&mut self, client: &str, refresh: &str) -> Answer {
        self.post("logout", client, &[("refresh_token", refresh)])
    }
}

pub(crate) fn pair(answer: &Answer) -> Pair {
    let body = answer.value();
    assert_eq!(answer.status, 200, "{body}");
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Pair { access: text("access_token"), refresh: text("refresh_token") }
}

/// `status error: description`, or `200`.
pub(crate) fn says(answer: &Answer) -> String {
    let body = answer.value();
    match body["error"].as_str() {
        None => answer.status.to_string(),
        Some(error) => format!("{} {error}: {}", answer.status, body["error_description"].as_str().unwrap_or("-")),
    }
}

pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub(crate) const SPENT: &str = "400 invalid_grant: Maximum allowed refresh token reuse exceeded";
pub(crate) const DETACHED: &str = "400 invalid_grant: Session doesn't have required client";
pub(crate) const NO_SESSION: &str = "400 invalid_grant: Session not active";
pub(crate) const STALE: &str = "400 invalid_grant: Stale token";
pub(crate) const INVALID: &str = "400 invalid_request: Invalid token";
