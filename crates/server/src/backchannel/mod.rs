//! Back-channel logout (`OpenID` Connect Back-Channel Logout 1.0): the identity provider says that a session is over.
//!
//! Anybody who reaches the listener may call. So everything is bounded: bytes, time, requests, and above all signature checks.
//!
//! A logout token that passes every check is still only a hint. It makes the jobs of its session due, and the reconciler
//! decides about them after it has asked about the session. Nothing here may end a job or ask about one, and no part of a
//! token may be answered or logged.

mod form;
mod hints;
mod outcome;
mod rate;
mod replay;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use futures::FutureExt;
use hints::Hints;
use outcome::{LogoutOutcome, LogoutRefusal};
use rate::Rates;
use replay::UsedTokens;
use tokenvault_core::ids::TenantId;
use tokenvault_core::ports::ProofError;
use tokenvault_keycloak::{KeycloakProvider, LogoutError, LogoutToken};
use tokenvault_vault::services::Services;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::config::IdpSection;
use crate::telemetry::metrics::Metrics;
use crate::tls;
use crate::web::UnreadBody;

/// For a whole request. Keycloak gives up after some seconds, and its user waits meanwhile.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests at a time; more are turned away.
const MAX_REQUESTS: usize = 64;
/// Connections at a time: Keycloak's own, and as many again as strangers may open.
const MAX_CONNECTIONS: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Knows a logout token of a tenant's realm when it sees one.
#[async_trait]
pub trait LogoutTokens: Send + Sync {
    /// What a token says, if it is one.
    async fn verify(&self, tenant: &TenantId, token: &str) -> Result<LogoutToken, LogoutError>;
}

#[async_trait]
impl LogoutTokens for KeycloakProvider {
    async fn verify(&self, tenant: &TenantId, token: &str) -> Result<LogoutToken, LogoutError> {
        self.verify_logout(tenant, token).await
    }
}

/// What the handler works with.
#[derive(Clone)]
pub struct BackChannel {
    services: Services,
    tokens: Arc<dyn LogoutTokens>,
    hints: Arc<Hints>,
    rates: Arc<Rates>,
    used: Arc<UsedTokens>,
    places: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl BackChannel {
    /// A back channel. Looks that are still to come when it stops are left out: the next renewal makes up for them.
    pub fn new(
        section: &IdpSection,
        services: Services,
        tokens: Arc<dyn LogoutTokens>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            hints: Arc::new(Hints::new(services.clone(), stop)),
            rates: Arc::new(Rates::new(section)),
            used: Arc::default(),
            places: Arc::new(Semaphore::new(MAX_REQUESTS)),
            services,
            tokens,
            metrics,
        }
    }

    /// The routes.
    pub fn router(self) -> Router {
        Router::new()
            .route("/backchannel-logout/{tenant}", post(logout).fallback(async || LogoutRefusal::Method))
            .fallback(async || LogoutRefusal::NotFound)
            .layer(from_fn_with_state(self.clone(), frame))
            .with_state(self)
    }
}

/// What strangers are allowed on this listener.
pub fn connection_limits() -> tls::ConnectionLimits {
    tls::ConnectionLimits {
        max_connections: MAX_CONNECTIONS,
        max_handshakes: MAX_CONNECTIONS,
        caller_connections: MAX_CONNECTIONS,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        header_timeout: HEADER_TIMEOUT,
        idle_timeout: IDLE_TIMEOUT,
        write_timeout: tls::WRITE_TIMEOUT,
        answer_timeout: REQUEST_TIMEOUT + tls::WRITE_TIMEOUT,
        heads: tls::Heads::Whole,
    }
}

/// Around every request: the limits that cost nothing, a time-out, a net under a panic; then it is counted and told.
async fn frame(State(channel): State<BackChannel>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str).to_owned();
    let span =
        tracing::info_span!("request", http.request.method = %request.method(), http.route = route, listener = "idp");
    let mut response = admitted(&channel, request, next).instrument(span.clone()).await;
    let outcome = response.extensions().get::<LogoutOutcome>().map_or("internal", LogoutOutcome::code);
    channel.metrics.process.backchannel_logout(outcome);
    let status = response.status().as_u16();
    // Strangers are counted; they do not fill the log.
    span.in_scope(|| tracing::debug!(http.response.status_code = status, outcome, "answered a back-channel logout"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Nobody is known here. Of those whom the limits let in the rest of a body is thrown away before the answer is given: no more than is
/// read of anybody who sends a form. Whoever is turned away makes nobody read.
async fn admitted(channel: &BackChannel, mut request: Request, next: Next) -> Response {
    if let Err(wait) = channel.rates.request(channel.services.clock.now()) {
        return LogoutRefusal::TooMany(wait).into_response();
    }
    let Ok(_place) = channel.places.try_acquire() else {
        return LogoutRefusal::TooMany(Duration::from_secs(1)).into_response();
    };
    let unread = UnreadBody::of(&mut request);
    let answered = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
    let answer = match tokio::time::timeout(REQUEST_TIMEOUT, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => LogoutRefusal::Internal.into_response(),
        Err(_) => LogoutRefusal::Unavailable.into_response(),
    };
    unread.discard(form::MAX_BODY).await;
    answer
}

/// `POST /backchannel-logout/{tenant}`
async fn logout(
    State(channel): State<BackChannel>,
    tenant: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<LogoutOutcome, LogoutRefusal> {
    let tenant = tenant.ok().and_then(|Path(name)| TenantId::parse(name).ok());
    let tenant =
        tenant.filter(|tenant| channel.services.tenants.get(tenant).is_some()).ok_or(LogoutRefusal::NotFound)?;
    let token = form::logout_token(&headers, body).await?;
    // From here on it may cost a signature check.
    channel.rates.check(&tenant, channel.services.clock.now()).map_err(LogoutRefusal::TooMany)?;
    let said = channel.tokens.verify(&tenant, &token).await.map_err(refused)?;
    let claim =
        channel.used.claim(&tenant, &said, channel.services.clock.now()).ok_or(LogoutRefusal::Token("replayed"))?;
    let jobs = channel.hints.follow(&tenant, &said).await.map_err(|error| {
        tracing::warn!(%tenant, %error, "a logout was announced, and the store could not be asked for its jobs");
        LogoutRefusal::Unavailable
    })?;
    claim.keep();
    if jobs == 0 {
        return Ok(LogoutOutcome::NoJob);
    }
    tracing::info!(%tenant, jobs, "a logout was announced; the jobs of its session are looked at");
    Ok(LogoutOutcome::Accepted)
}

fn refused(error: LogoutError) -> LogoutRefusal {
    match error {
        LogoutError::Token(ProofError::KeysUnavailable) => LogoutRefusal::Unavailable,
        error => LogoutRefusal::Token(error.code()),
    }
}
