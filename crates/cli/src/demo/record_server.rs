//! The server that saves records. It takes a record only with an access token that is valid at that moment, as every FOLIO
//! module behind its sidecar does. It knows the issuer and its keys, and nothing of the vault.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;
use serde_json::Value;
use tokenvault_core::ports::Clock;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::error::DemoError;

/// A running server; it stops when dropped.
pub(super) struct RecordServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl RecordServer {
    /// Starts on a free port, trusting tokens of this issuer signed by these keys.
    pub(super) async fn start(issuer: &str, keys: Value, clock: Arc<dyn Clock>) -> Result<Self, DemoError> {
        let what = "cannot listen for records";
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(DemoError::io(what))?;
        let address = listener.local_addr().map_err(DemoError::io(what))?;
        let verifier =
            TokenVerifier::new(issuer, serde_json::from_value(keys).unwrap_or(JwkSet { keys: Vec::new() }), clock);
        let router = Router::new().route("/records", post(save)).with_state(Arc::new(verifier));
        let task = tokio::spawn(async move {
            // It ends by being aborted.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { address, task })
    }

    /// Where records go.
    pub(super) fn url(&self) -> String {
        format!("http://{}/records", self.address)
    }
}

impl Drop for RecordServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn save(State(verifier): State<Arc<TokenVerifier>>, headers: HeaderMap) -> Response {
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let admitted =
        authorization.and_then(|value| value.strip_prefix("Bearer ")).is_some_and(|token| verifier.accepts(token));
    if admitted {
        return StatusCode::CREATED.into_response();
    }
    let why = [(header::WWW_AUTHENTICATE, "Bearer error=\"invalid_token\"")];
    (StatusCode::UNAUTHORIZED, why).into_response()
}

/// Decides whether a token holds.
pub(super) struct TokenVerifier {
    keys: JwkSet,
    validation: Validation,
    clock: Arc<dyn Clock>,
}

#[derive(Deserialize)]
struct ExpiryClaim {
    exp: u64,
}

impl TokenVerifier {
    pub(super) fn new(issuer: &str, keys: JwkSet, clock: Arc<dyn Clock>) -> Self {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_issuer(&[issuer]);
        validation.validate_aud = false;
        // The library would ask the machine's clock.
        validation.validate_exp = false;
        Self { keys, validation, clock }
    }

    /// Signature, issuer and expiry. The expiry is judged as Keycloak itself does: in whole seconds, over once the
    /// second after `exp` begins.
    pub(super) fn accepts(&self, token: &str) -> bool {
        let claims = jsonwebtoken::decode_header(token).ok().and_then(|header| {
            let key = DecodingKey::from_jwk(self.keys.find(header.kid.as_deref()?)?).ok()?;
            Some(jsonwebtoken::decode::<ExpiryClaim>(token, &key, &self.validation).ok()?.claims)
        });
        claims.is_some_and(|claims| self.clock.now().as_secs() <= claims.exp)
    }
}
