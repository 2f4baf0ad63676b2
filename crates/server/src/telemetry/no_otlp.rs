//! What stands in for OTLP in a build without the feature `otlp`: nothing is told, and a configuration that asks for traces
//! is refused.

use std::path::Path;

use axum::http::HeaderMap;
use tracing::Span;
use tracing_subscriber::layer::Identity;

use crate::config::{ConfigError, Finding, Telemetry};

/// Tells no traces.
#[derive(Default)]
pub struct Traces;

impl Traces {
    /// Refuses a collector's address.
    pub fn of(telemetry: &Telemetry, config: &Path) -> Result<Self, ConfigError> {
        match &telemetry.otlp_endpoint {
            None => Ok(Self),
            Some(_) => Err(ConfigError { file: config.display().to_string(), findings: vec![unsupported()] }),
        }
    }

    /// None.
    pub fn layer(&self) -> Option<Identity> {
        None
    }

    /// Hands over nothing.
    pub fn finish(self) {}
}

/// Whether traces could be told as they are configured.
pub fn check(telemetry: &Telemetry) -> Result<(), ConfigError> {
    match &telemetry.otlp_endpoint {
        None => Ok(()),
        Some(_) => Err(ConfigError { file: "this build".to_owned(), findings: vec![unsupported()] }),
    }
}

fn unsupported() -> Finding {
    let remedy = "this build of tokenvault tells no traces; build it with `--features otlp`, or take the released image or package";
    Finding::new("telemetry.otlp_endpoint", remedy)
}

/// Follows no trace.
pub fn follow(_: &Span, _: &HeaderMap) {}

/// Names no trace.
pub fn inject(_: &Span, _: &mut HeaderMap) {}
