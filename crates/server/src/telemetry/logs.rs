//! Structured logs on standard error, and the traces beside them.

use std::io::IsTerminal;

use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use tokenvault_vault::spans::TARGET;

use super::otlp::Traces;
use crate::config::{LogFormat, TelemetrySection};

/// Starts logging for the process, without traces. A second call in one process changes nothing.
pub fn start(telemetry: &TelemetrySection) {
    start_with(telemetry, &Traces::default());
}

/// The same with traces.
pub fn start_with(telemetry: &TelemetrySection, traces: &Traces) {
    let filter = EnvFilter::try_new(&telemetry.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let filter = filter.and(filter_fn(|metadata| metadata.target() != TARGET));
    let layer =
        tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let layer = match telemetry.log_format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => layer.boxed(),
    };
    // A layer that is there and hears of nothing would have every span made for it.
    let started = match traces.layer() {
        Some(traces) => tracing_subscriber::registry().with(layer.with_filter(filter)).with(traces).try_init(),
        None => tracing_subscriber::registry().with(layer.with_filter(filter)).try_init(),
    };
    drop(started);
}
