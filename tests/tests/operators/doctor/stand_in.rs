//! A Keycloak for the tests that are not about Keycloak: its answers to a sound vault's client, as the real one was seen to
//! give them, dated as a test wants.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::{get, post};
use axum::{Form, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tokenvault_tests::harness::Result;
use tokenvault_tests::harness::realm::VAULT;
use tokio::net::TcpListener;

use crate::doctor::stage::now;

#[derive(Clone)]
struct Realm {
    issuer: String,
    behind: u64,
}

/// Starts one whose clock is so many seconds behind, and says its issuer.
pub(crate) async fn start(behind: u64) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let issuer = format!("http://{}/realms/stand-in", listener.local_addr()?);
    let router = Router::new()
        .route("/realms/stand-in/.well-known/openid-configuration", get(discovery))
        .route("/realms/stand-in/protocol/openid-connect/token", post(token))
        .route("/realms/stand-in/protocol/openid-connect/token/introspect", post(introspection))
        .with_state(Realm { issuer: issuer.clone(), behind });
    tokio::spawn(async move { drop(axum::serve(listener, router).await) });
    Ok(issuer)
}

async fn discovery(State(realm): State<Realm>) -> Json<Value> {
    Json(json!({ "issuer": realm.issuer }))
}

async fn introspection() -> Json<Value> {
    Json(json!({ "active": true, "aud": VAULT }))
}

async fn token(State(realm): State<Realm>, Form(form): Form<HashMap<String, String>>) -> (StatusCode, Json<Value>) {
    if form.get("grant_type").is_some_and(|grant| grant == "client_credentials") {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let claims = json!({ "iat": now() - realm.behind, "sub": "service-account", "aud": VAULT });
        let token = format!("{}.{}.c2ln", part(json!({})), part(claims));
        return (StatusCode::OK, Json(json!({ "access_token": token, "expires_in": 300 })));
    }
    let words = "Refresh token not valid as requested_token_type because creating a new session is needed";
    (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_request", "error_description": words })))
}
