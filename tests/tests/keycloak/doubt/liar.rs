//! A Keycloak that lies for a while: that sessions are over which live.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::fake_keycloak::FakeKeycloak;

/// See the module. Tells the truth until it is told to lie.
pub(crate) struct Liar {
    keycloak: FakeKeycloak,
    /// Refreshes and exchanges that came while it lied.
    sent: Arc<AtomicUsize>,
}

impl Liar {
    pub(crate) async fn before(upstream: &str) -> Result<Self> {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let keycloak = FakeKeycloak::answering(upstream, move |_, path, body| lie(&counted, path, body)).await?;
        keycloak.pass();
        Ok(Self { keycloak, sent })
    }

    pub(crate) fn url(&self) -> String {
        self.keycloak.url()
    }

    pub(crate) fn lie(&self, lies: bool) {
        if lies {
            self.keycloak.stand_in();
        } else {
            self.keycloak.pass();
        }
    }

    /// How many lies were told.
    pub(crate) fn told(&self) -> usize {
        self.keycloak.asked()
    }

    /// How many refreshes and exchanges came while it lied.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::SeqCst)
    }
}

/// As a node of a cluster answers that has lost its sessions.
fn lie(sent: &AtomicUsize, path: &str, body: &[u8]) -> Option<Response> {
    let form = String::from_utf8_lossy(body);
    let refused = |error: &str, description: &str| {
        sent.fetch_add(1, Ordering::SeqCst);
        let body = json!({ "error": error, "error_description": description });
        (StatusCode::BAD_REQUEST, axum::Json(body)).into_response()
    };
    if path.ends_with("/token/introspect") {
        return Some(axum::Json(json!({ "active": false })).into_response());
    }
    if !path.ends_with("/token") || form.contains("client_credentials") {
        return None;
    }
    Some(if form.contains("grant_type=refresh_token") {
        refused("invalid_grant", "Session doesn't have required client")
    } else {
        refused("invalid_request", "Invalid token")
    })
}
