//! The identity provider: each act is one request and one answer (an impersonation may need the service account's token
//! first). Nothing is retried here.

use std::sync::Arc;

use async_trait::async_trait;
use tokenvault_core::ids::{AccountId, ClientId, TenantId};
use tokenvault_core::ports::{
    CallError, Client, Clock, Entropy, Grant, GrantError, IdentityProvider, Introspection, Proof, ProofError, Refusal,
};
use tokenvault_core::secret::{AccessToken, RefreshToken};
use tracing::Instrument;
use tracing::field::Empty;

use crate::answer::{self, cause_code};
use crate::claims::JwtClaims;
use crate::http::{HttpClient, HttpRequest, HttpResult};
use crate::jwks::KeyCache;
use crate::logout::{self, LogoutError, LogoutToken};
use crate::observe::{CallObserver, NoObserver};
use crate::operation::Operation;
use crate::proof::{self, Unverified};
use crate::request::{self, ClientAuth, RequestBuilder};
use crate::service_account::ServiceAccounts;
use crate::tenant::{Credentials, TenantConfig, TenantDirectory};

/// Keycloak, for all tenants of a directory.
pub struct KeycloakProvider {
    directory: Arc<dyn TenantDirectory>,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    observer: Arc<dyn CallObserver>,
    keys: KeyCache,
    accounts: ServiceAccounts,
}

impl KeycloakProvider {
    /// A provider. `http` serves the tenants that have no client of their own.
    pub fn new(
        directory: Arc<dyn TenantDirectory>,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            directory,
            http,
            clock,
            entropy,
            observer: Arc::new(NoObserver),
            keys: KeyCache::default(),
            accounts: ServiceAccounts::default(),
        }
    }

    /// Tells an observer of every call.
    #[must_use]
    pub fn observed_by(mut self, observer: Arc<dyn CallObserver>) -> Self {
        self.observer = observer;
        self
    }

    /// What a logout token says, if the tenant's realm signed it, for a client of the vault's and just now. Whether it was
    /// used before is for the caller to know.
    pub async fn verify_logout(&self, tenant: &TenantId, token: &str) -> Result<LogoutToken, LogoutError> {
        let tenant = self.directory.tenant(tenant).ok_or(ProofError::UnknownTenant)?;
        let unverified = Unverified::parse(token)?;
        let said = logout::check(&unverified, &tenant, self.clock.now())?;
        self.signed_claims(&tenant, &unverified).await?;
        Ok(said)
    }

    async fn signed_claims(&self, tenant: &TenantConfig, unverified: &Unverified<'_>) -> Result<JwtClaims, ProofError> {
        let fetch = || async {
            let request = request::jwks(tenant.endpoints());
            self.call(tenant, Operation::Jwks, request, answer::keys, cause_code).await
        };
        let found = self.keys.find(&tenant.endpoints().jwks, &unverified.kid, self.clock.now(), fetch).await;
        let key = found.map_err(|_| ProofError::KeysUnavailable)?.ok_or(ProofError::Signature)?;
        unverified.verify(&key)
    }

    /// Sends once, classifies, and tells the observer.
    async fn call<T, E: Copy>(
        &self,
        tenant: &TenantConfig,
        operation: Operation,
        mut request: HttpRequest,
        classify: impl FnOnce(HttpResult) -> Result<T, E>,
        code: impl FnOnce(E) -> &'static str,
    ) -> Result<T, E> {
        let begun = self.clock.now();
        let http = tenant.http.as_ref().unwrap_or(&self.http);
        let span = span(&request);
        span.in_scope(|| self.observer.carry(&mut request.headers));
        let answer = http.send(request).instrument(span.clone()).await;
        let status = answer.as_ref().ok().map(|answer| answer.status);
        let result = classify(answer);
        let outcome = result.as_ref().map_or_else(|error| code(*error), |_| "ok");
        if let Some(status) = status {
            span.record("http.response.status_code", status);
        }
        if result.is_err() {
            span.record("otel.status_code", "ERROR").record("error.type", outcome);
        }
        let elapsed = self.clock.now().since(begun);
        tracing::debug!(call = operation.as_str(), outcome, elapsed_ms = elapsed.as_millis(), "asked Keycloak");
        self.observer.call(tenant.issuer(), operation.as_str(), outcome, elapsed);
        result
    }

    async fn token_call(
        &self,
        context: &ClientContext,
        operation: Operation,
        request: HttpRequest,
    ) -> Result<Grant, GrantError> {
        let classify = |answer| answer::grant(operation, answer, &context.tenant);
        self.call(&context.tenant, operation, request, classify, grant_code).await
    }

    /// The tenant and the proof for the client's next request. A tenant or client that is not configured (any more) is a
    /// refusal of the client, which says nothing about any token.
    fn client_context(&self, client: &Client) -> Result<ClientContext, Refusal> {
        let tenant = self.directory.tenant(&client.tenant).ok_or(Refusal::ClientRejected)?;
        let auth = match tenant.credentials_of(&client.id).ok_or(Refusal::ClientRejected)? {
            Credentials::Secret(secret) => ClientAuth::Secret(secret.clone()),
            Credentials::PrivateKeyJwt(key) => {
                let assertion = key.assert(&client.id, tenant.issuer(), self.clock.now(), &*self.entropy);
                ClientAuth::Assertion(assertion.map_err(|_| Refusal::ClientRejected)?)
            }
        };
        Ok(ClientContext { tenant, client: client.id.clone(), auth })
    }

    async fn service_token(&self, client: &Client) -> Result<AccessToken, GrantError> {
        let tenant = self.directory.tenant(&client.tenant).ok_or(GrantError::Refused(Refusal::ClientRejected))?;
        let fetch = || async {
            let context = self.client_context(client).map_err(GrantError::Refused)?;
            let request = context.caller().service_account();
            self.call(&context.tenant, Operation::ServiceAccount, request, answer::service_token, grant_code).await
        };
        let endpoint = &tenant.endpoints().token;
        let token = self.accounts.token(endpoint, &client.id, &*self.clock, fetch).await;
        token.map_err(|error| match error {
            // Whatever became of this request, the one that would have opened a session was never sent.
            GrantError::Unknown(cause) => GrantError::Unsent(cause),
            other => other,
        })
    }
}

/// What a trace tells of a call: `OpenTelemetry`'s conventions for HTTP clients, with the realm left out of the path.
fn span(request: &HttpRequest) -> tracing::Span {
    let path = request.url.path().split_once("/protocol/").map_or("", |(_, path)| path);
    tracing::info_span!(
        target: "tokenvault::trace", "keycloak", otel.kind = "client",
        otel.name = format!("{} /realms/{{realm}}/protocol/{path}", request.method), otel.status_code = Empty,
        http.request.method = %request.method, url.template = format!("/realms/{{realm}}/protocol/{path}"),
        server.address = request.url.host_str(), server.port = request.url.port_or_known_default(),
        http.response.status_code = Empty, error.r#type = Empty,
    )
}

/// Where a client stands: its tenant, and its proof for one request.
struct ClientContext {
    tenant: Arc<TenantConfig>,
    client: ClientId,
    auth: ClientAuth,
}

impl ClientContext {
    fn caller(&self) -> RequestBuilder<'_> {
        RequestBuilder { endpoints: self.tenant.endpoints(), client: &self.client, auth: &self.auth }
    }
}

#[async_trait]
impl IdentityProvider for KeycloakProvider {
    async fn verify(&self, tenant: &TenantId, token: &AccessToken) -> Result<Proof, ProofError> {
        let tenant = self.directory.tenant(tenant).ok_or(ProofError::UnknownTenant)?;
        let claims = self.signed_claims(&tenant, &Unverified::parse(token.expose())?).await?;
        proof::check(&claims, &tenant, self.clock.now())
    }

    async fn exchange(&self, client: &Client, subject: &AccessToken) -> Result<Grant, GrantError> {
        let context = self.client_context(client).map_err(GrantError::Refused)?;
        let request = context.caller().exchange(subject, context.tenant.exchange_scope.as_deref());
        self.token_call(&context, Operation::Exchange, request).await
    }

    async fn refresh(&self, client: &Client, token: &RefreshToken) -> Result<Grant, GrantError> {
        let context = self.client_context(client).map_err(GrantError::Refused)?;
        let mut request = context.caller().refresh(token);
        // Who hangs up early on a slow Keycloak loses the only copy of the next token.
        request.patience = context.tenant.refresh_patience;
        let classify = |answer| answer::refreshed(answer, token, &context.tenant);
        self.call(&context.tenant, Operation::Refresh, request, classify, grant_code).await
    }

    async fn impersonate(&self, client: &Client, account: &AccountId) -> Result<Grant, GrantError> {
        let service = self.service_token(client).await?;
        // A new proof: an assertion is good for one request.
        let context = self.client_context(client).map_err(GrantError::Refused)?;
        let request = context.caller().impersonate(&service, account, context.tenant.exchange_scope.as_deref());
        let result = self.token_call(&context, Operation::Impersonate, request).await;
        // A role granted a moment ago is found in a new token only.
        if let Err(GrantError::Refused(Refusal::ClientRejected | Refusal::NotAllowed)) = result {
            self.accounts.forget(&context.tenant.endpoints().token, &client.id, &service);
        }
        result
    }

    async fn probe(&self, client: &Client, token: &RefreshToken) -> Result<bool, CallError> {
        let context = self.client_context(client).map_err(CallError::Refused)?;
        let request = context.caller().probe(token);
        self.call(&context.tenant, Operation::Probe, request, answer::probe, call_code).await
    }

    async fn introspect(&self, client: &Client, token: &AccessToken) -> Result<Introspection, CallError> {
        let context = self.client_context(client).map_err(CallError::Refused)?;
        let request = context.caller().introspect(token);
        let classify = |answer| answer::introspection(answer, &context.tenant);
        self.call(&context.tenant, Operation::Introspect, request, classify, call_code).await
    }

    async fn revoke(&self, client: &Client, token: &RefreshToken) -> Result<(), CallError> {
        let context = self.client_context(client).map_err(CallError::Refused)?;
        let request = context.caller().revoke(token);
        self.call(&context.tenant, Operation::Revoke, request, answer::revoked, call_code).await
    }
}

fn grant_code(error: GrantError) -> &'static str {
    match error {
        GrantError::Refused(refusal) => refusal.code(),
        GrantError::Unknown(cause) | GrantError::Unsent(cause) => cause_code(cause),
    }
}

fn call_code(error: CallError) -> &'static str {
    match error {
        CallError::Refused(refusal) => refusal.code(),
        CallError::NoAnswer(cause) => cause_code(cause),
    }
}

#[cfg(test)]
mod tests;
