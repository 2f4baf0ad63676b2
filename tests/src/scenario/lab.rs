//! The words scenarios are written in: what a client asks, what an administrator does, what is expected.

use std::time::Duration;

use keycloak_double::{ClientConfig, RealmSettings};
use serde_json::Value;

use super::idp::Idp;
use super::transcript::{Reply, Transcript};
use super::{ALICE, UI, VAULT};
use crate::harness::{Failure, Result, install_tls_provider};

/// `grant_type` of RFC 8693.
pub const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// A token type.
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// A token type.
pub const REFRESH_TOKEN: &str = "urn:ietf:params:oauth:token-type:refresh_token";

/// What a dead session says.
pub const NO_SESSION: &str = "400 invalid_grant: Session not active";
/// What a client session says that was detached.
pub const DETACHED: &str = "400 invalid_grant: Session doesn't have required client";
/// What a spent token says.
pub const SPENT: &str = "400 invalid_grant: Maximum allowed refresh token reuse exceeded";
/// What a token says that is too old for its chain, or for a pushed not-before.
pub const STALE: &str = "400 invalid_grant: Stale token";
/// What a bad subject token says, whatever is bad about it.
pub const INVALID: &str = "400 invalid_request: Invalid token";
/// What impersonation says when it may not be.
pub const DENIED: &str = "403 access_denied: Client not allowed to exchange";

/// A provider, a realm, and what was said so far.
pub struct Lab {
    idp: Idp,
    http: reqwest::Client,
    transcript: Transcript,
}

impl Lab {
    pub(super) fn new(idp: Idp) -> Result<Self> {
        install_tls_provider();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { idp, http, transcript: Transcript::default() })
    }

    pub(super) fn into_parts(self) -> (Idp, Transcript) {
        (self.idp, self.transcript)
    }

    /// Whole seconds pass, and a little more, so that a boundary is certainly crossed.
    pub async fn seconds(&self, seconds: u64) {
        self.idp.advance(Duration::from_millis(seconds * 1000 + 100)).await;
    }

    /// The next few requests fall into one second.
    pub async fn begin_second(&self) {
        self.idp.begin_second().await;
    }

    /// The administrator's side.
    pub fn admin(&self) -> &Idp {
        &self.idp
    }

    /// The administrator's side, where it changes what it knows of the realm.
    pub fn admin_mut(&mut self) -> &mut Idp {
        &mut self.idp
    }

    /// Changes the realm's settings.
    pub async fn settings(&mut self, change: impl Fn(&mut RealmSettings)) -> Result<()> {
        self.idp.change_settings(change).await
    }

    /// Changes a client.
    pub async fn client(&mut self, id: &str, change: impl Fn(ClientConfig) -> ClientConfig) -> Result<()> {
        self.idp.change_client(id, change).await
    }

    /// Says what an answer should have been.
    pub fn expect(&mut self, step: &str, reply: &Reply, words: &str) {
        self.transcript.answer(step, reply, words);
    }

    /// Says what must be so.
    pub fn fact(&mut self, what: &str, so: bool) {
        self.transcript.fact(what, so);
    }

    /// Says what must be the same for both.
    pub fn note(&mut self, what: &str, value: impl std::fmt::Display) {
        self.transcript.note(what, value);
    }

    /// Says how long a token should live, give or take the two seconds a slow answer may cost.
    pub fn life(&mut self, what: &str, seconds: &Value, expected: u64) {
        let about = seconds.as_u64().is_some_and(|s| s.abs_diff(expected) <= 2);
        let heard = seconds.to_string();
        let line = if about { format!("{what} lives about {expected} s") } else { format!("{what} lives {heard} s") };
        self.transcript.fact(&line, about);
    }

    /// The URL of an endpoint of the realm.
    pub fn url(&self, endpoint: &str) -> String {
        format!("{}/realms/{}/{endpoint}", self.idp.base_url(), self.idp.realm_name())
    }

    /// Posts a form as it is.
    pub async fn post_to(&self, url: &str, form: &[(&str, &str)]) -> Result<Reply> {
        reply(self.http.post(url).form(form)).await
    }

    /// Posts a form with the client's credentials in the header.
    pub async fn post_basic(&self, endpoint: &str, client: &str, form: &[(&str, &str)]) -> Result<Reply> {
        let url = self.url(&format!("protocol/openid-connect/{endpoint}"));
        reply(self.http.post(url).basic_auth(client, Some(self.idp.secret(client))).form(form)).await
    }

    /// Gets a URL.
    pub async fn get(&self, url: &str) -> Result<Reply> {
        reply(self.http.get(url)).await
    }

    /// Posts a form with the client's credentials in it.
    pub async fn post(&self, endpoint: &str, client: &str, form: &[(&str, &str)]) -> Result<Reply> {
        let mut all = vec![("client_id", client), ("client_secret", self.idp.secret(client))];
        all.extend_from_slice(form);
        self.post_to(&self.url(&format!("protocol/openid-connect/{endpoint}")), &all).await
    }

    /// Logs Alice in.
    pub async fn login_with(&self, client: &str, scope: &str) -> Result<Reply> {
        self.login_as(client, ALICE, "alice-password", scope).await
    }

    /// Logs a user in.
    pub async fn login_as(&self, client: &str, username: &str, password: &str, scope: &str) -> Result<Reply> {
        let form = [("grant_type", "password"), ("username", username), ("password", password), ("scope", scope)];
        self.post("token", client, &form).await
    }

    /// Logs Alice in to the user interface.
    pub async fn login(&self) -> Result<Reply> {
        granted("login", self.login_with(UI, "openid").await?)
    }

    /// The refresh grant.
    pub async fn refresh(&self, client: &str, token: &str) -> Result<Reply> {
        self.post("token", client, &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// The refresh grant, which must succeed.
    pub async fn refreshed(&self, client: &str, token: &str) -> Result<Reply> {
        granted("refresh", self.refresh(client, token).await?)
    }

    /// Token exchange by a client for a type of token.
    pub async fn exchange_by(&self, client: &str, subject: &str, wanted: &str, more: &[(&str, &str)]) -> Result<Reply> {
        let mut form = vec![
            ("grant_type", EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", wanted),
        ];
        form.extend_from_slice(more);
        self.post("token", client, &form).await
    }

    /// Token exchange by the vault for a refresh token.
    pub async fn exchange(&self, subject: &str) -> Result<Reply> {
        self.exchange_by(VAULT, subject, REFRESH_TOKEN, &[]).await
    }

    /// Token exchange by the vault for a refresh token, which must succeed.
    pub async fn exchanged(&self, subject: &str) -> Result<Reply> {
        granted("exchange", self.exchange(subject).await?)
    }

    /// A token of the vault's service account.
    pub async fn service_token(&self) -> Result<String> {
        Ok(self.service_token_of(VAULT).await?.access().to_owned())
    }

    /// A token of a client's service account.
    pub async fn service_token_of(&self, client: &str) -> Result<Reply> {
        granted("client credentials", self.post("token", client, &[("grant_type", "client_credentials")]).await?)
    }

    /// Impersonation with a given subject token.
    pub async fn impersonate_with(&self, subject: &str, user: &str, more: &[(&str, &str)]) -> Result<Reply> {
        let mut form = vec![("grant_type", EXCHANGE), ("subject_token", subject), ("requested_subject", user)];
        form.extend_from_slice(more);
        self.post("token", VAULT, &form).await
    }

    /// Impersonation by the vault's service account for a refresh token.
    pub async fn impersonate(&self, user: &str) -> Result<Reply> {
        let service = self.service_token().await?;
        self.impersonate_with(&service, user, &[("requested_token_type", REFRESH_TOKEN)]).await
    }

    /// Impersonation of Alice, which must succeed.
    pub async fn impersonated(&self) -> Result<Reply> {
        granted("impersonation", self.impersonate(ALICE).await?)
    }

    /// The harmless probe.
    pub async fn probe(&self, client: &str, token: &str) -> Result<Reply> {
        self.post("token/introspect", client, &[("token", token), ("token_type_hint", "refresh_token")]).await
    }

    /// Introspection without a hint.
    pub async fn introspect(&self, client: &str, token: &str) -> Result<Reply> {
        self.post("token/introspect", client, &[("token", token)]).await
    }

    /// Revocation.
    pub async fn revoke(&self, client: &str, token: &str) -> Result<Reply> {
        self.post("revoke", client, &[("token", token)]).await
    }

    /// Logout with a refresh token.
    pub async fn logout(&self, client: &str, token: &str) -> Result<Reply> {
        self.post("logout", client, &[("refresh_token", token)]).await
    }
}

/// An answer that a scenario needs in order to go on at all.
fn granted(what: &str, reply: Reply) -> Result<Reply> {
    if reply.status == 200 && !reply.access().is_empty() {
        return Ok(reply);
    }
    Err(Failure::new(format!("{what}: {}", reply.words())))
}

async fn reply(request: reqwest::RequestBuilder) -> Result<Reply> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let text = answer.text().await?;
    let body = match text.as_str() {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    Ok(Reply { status, body })
}
