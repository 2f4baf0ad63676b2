//! Health and metrics for the machinery around the vault: plain HTTP, on loopback unless configured otherwise.
//!
//! `/healthz` speaks for the process alone. `/readyz` says which part is not ready. Keycloak must never be such a part: all
//! replicas would leave while reads still work. Nothing here may show a job, a user or a token.

mod serve;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

pub use serve::{MAX_CONNECTIONS, serve};

use crate::telemetry::metrics::Metrics;
use crate::web::shutdown::Shutdown;

/// A part that must work for this replica to be of use.
#[async_trait]
pub trait ReadyPart: Send + Sync {
    /// Its name in the answer.
    fn name(&self) -> &'static str;

    /// Why it is not ready, in a word or two without secrets.
    async fn check(&self) -> Result<(), String>;
}

/// What the management listener tells about.
#[derive(Clone)]
pub struct ManagementContext {
    /// The parts asked by `/readyz`.
    pub parts: Arc<Vec<Arc<dyn ReadyPart>>>,
    /// What `/metrics` shows.
    pub metrics: Arc<Metrics>,
    /// Who leaves is not ready any more, so that no new work is sent here.
    pub shutdown: Shutdown,
}

/// A part that does not answer within this is not ready.
const PATIENCE: Duration = Duration::from_secs(2);

/// The routes.
pub fn router(management: ManagementContext) -> Router {
    Router::new()
        .route("/healthz", get(async || Json(json!({"status": "up"}))))
        .route("/admin/health", get(async || Json(json!({"status": "UP"}))))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(management)
}

async fn ready(State(management): State<ManagementContext>) -> Response {
    let mut parts = Map::new();
    let mut all = true;
    for part in management.parts.iter() {
        let checked =
            tokio::time::timeout(PATIENCE, part.check()).await.unwrap_or_else(|_| Err("no answer in time".to_owned()));
        all &= checked.is_ok();
        parts.insert(part.name().to_owned(), checked.map_or_else(Value::from, |()| Value::from("ok")));
    }
    if management.shutdown.is_announced() {
        all = false;
        parts.insert("process".to_owned(), Value::from("shutting down"));
    }
    let status = if all { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({"ready": all, "parts": parts}))).into_response()
}

async fn metrics(State(management): State<ManagementContext>) -> Response {
    let text = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (text, management.metrics.encode()).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    struct Part(&'static str, Result<(), String>);

    #[async_trait]
    impl ReadyPart for Part {
        fn name(&self) -> &'static str {
            self.0
        }

        async fn check(&self) -> Result<(), String> {
            self.1.clone()
        }
    }

    async fn get_json(parts: Vec<Part>, path: &str) -> (StatusCode, Value) {
        let parts = parts.into_iter().map(|part| Arc::new(part) as Arc<dyn ReadyPart>).collect();
        let shutdown = Shutdown::default();
        let router = router(ManagementContext { parts: Arc::new(parts), metrics: Arc::new(Metrics::new()), shutdown });
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let answer = router.oneshot(request).await.expect("an answer");
        let status = answer.status();
        let body = answer.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    #[tokio::test]
    async fn readiness_names_the_part_that_is_not_ready() {
        let parts = vec![Part("keyring", Ok(())), Part("store", Err("no connection".to_owned()))];
        let (status, body) = get_json(parts, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body, json!({"ready": false, "parts": {"keyring": "ok", "store": "no connection"}}));
    }

    #[tokio::test]
    async fn the_process_is_healthy_whatever_its_parts_say() {
        let parts = vec![Part("store", Err("no connection".to_owned()))];
        assert_eq!(get_json(parts, "/healthz").await.0, StatusCode::OK);
    }
}
