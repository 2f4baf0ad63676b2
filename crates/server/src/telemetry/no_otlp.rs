//! What stands in for OTLP in a build without the feature `otlp`: nothing is told, and a configuration that asks for traces
//! is refused.

use std::path::Path;

use axum::http::HeaderMap;
use tracing::Span;
use tracing_subscriber::layer::Identity;

use crate::config::{ConfigError, Finding, TelemetrySection};

/// Tells no traces.
#[derive(Default)]
pub struct Traces(());

impl Traces {
    /// Refuses a collector's address.
    pub fn of(telemetry: &TelemetrySection, config: &Path) -> Result<Self, ConfigError> {
        match &telemetry.otlp_endpoint {
            None => Ok(Self::default()),
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
pub fn check(telemetry: &TelemetrySection) -> Result<(), ConfigError> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_traces_refuses_a_collector_and_says_how_to_get_them() {
        let silent = TelemetrySection::default();
        assert!(Traces::of(&silent, Path::new("tokenvault.toml")).is_ok() && check(&silent).is_ok());

        let asked = TelemetrySection { otlp_endpoint: Some("http://collector:4318".to_owned()), ..silent };
        let refusals = [Traces::of(&asked, Path::new("tokenvault.toml")).err(), check(&asked).err()];
        for refusal in refusals {
            let text = refusal.expect("nothing is dropped silently").to_string();
            assert!(text.contains("telemetry.otlp_endpoint") && text.contains("--features otlp"), "{text}");
        }
    }
}
