//! Traces for a collector over OTLP (HTTP, protobuf). Off unless `telemetry.otlp_endpoint` is set.
//!
//! The collector may be away: what it does not take is dropped, and no request waits for it or fails.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Link, SpanKind, TraceContextExt, TraceId, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderExtractor, HeaderInjector, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, SamplingResult, SdkTracerProvider, ShouldSample,
};
use parking_lot::Mutex;
use tokenvault_vault::spans::TARGET;
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::config::{ConfigError, Finding, Telemetry, read_secret};

/// How long the collector may take for a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// The same for a connection to it.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// How long a connection to it may idle.
const IDLE: Duration = Duration::from_secs(15);
/// How long the last batch may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// Tells traces until it is dropped.
#[derive(Default)]
pub struct Traces(Option<SdkTracerProvider>);

impl Traces {
    /// Connects to nothing yet. Must be called inside a runtime, which must outlive it.
    pub fn of(telemetry: &Telemetry, config: &Path) -> Result<Self, ConfigError> {
        let Some(endpoint) = &telemetry.otlp_endpoint else { return Ok(Self::default()) };
        let wrong = |place: &str, problem: String| ConfigError {
            file: config.display().to_string(),
            findings: vec![Finding::new(place, problem)],
        };
        let client = Collector::new().map_err(|error| wrong("telemetry.otlp_endpoint", error.to_string()))?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(signal(endpoint))
            .with_headers(headers(telemetry)?)
            .with_timeout(PATIENCE)
            .build()
            .map_err(|error| wrong("telemetry.otlp_endpoint", error.to_string()))?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(Duration::from_secs(2)).build();
        let resource = Resource::builder_empty()
            .with_service_name("tokenvault")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(WholeTraces(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                telemetry.otlp_sample_ratio,
            )))))
            .with_resource(resource)
            .build();
        Ok(Self(Some(provider)))
    }

    /// The layer that hears of the spans; none where traces are off.
    pub fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.0.as_ref()?.tracer("tokenvault");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        Some(layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET)))
    }

    /// Hands over what is left, for a short time.
    pub fn finish(self) {
        if let Some(provider) = self.0
            && let Err(error) = provider.shutdown_with_timeout(FAREWELL)
        {
            tracing::info!(%error, "the last traces were not handed over");
        }
    }
}

/// A base address stands for its path for traces (OTLP/HTTP).
fn signal(endpoint: &str) -> String {
    match url::Url::parse(endpoint) {
        Ok(url) if url.path() == "/" => format!("{}/v1/traces", endpoint.trim_end_matches('/')),
        _ => endpoint.to_owned(),
    }
}

/// Whether the headers' file is as it should be.
pub fn check(telemetry: &Telemetry) -> Result<(), ConfigError> {
    headers(telemetry).map(drop)
}

/// `NAME: VALUE` lines, such as a collector's token. They are secret.
fn headers(telemetry: &Telemetry) -> Result<HashMap<String, String>, ConfigError> {
    let Some(file) = &telemetry.otlp_headers_file else { return Ok(HashMap::new()) };
    let fail = |problem: &str| ConfigError {
        file: file.display().to_string(),
        findings: vec![Finding::new("telemetry.otlp_headers_file", problem.to_owned())],
    };
    let text = read_secret(file).map_err(|finding| fail(&finding.problem))?;
    let lines = text.expose().lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let (name, value) = line.split_once(':').ok_or_else(|| fail("each of its lines must be NAME: VALUE"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

/// Begins traces only with what has a beginning of its own: an operation of the store by itself, of which there are many a
/// second, is none.
#[derive(Debug, Clone)]
struct WholeTraces(Sampler);

impl ShouldSample for WholeTraces {
    fn should_sample(
        &self,
        parent: Option<&Context>,
        trace: TraceId,
        name: &str,
        kind: &SpanKind,
        attributes: &[KeyValue],
        links: &[Link],
    ) -> SamplingResult {
        let follows = parent.is_some_and(|parent| parent.span().span_context().is_valid());
        if !follows && *kind == SpanKind::Client {
            return SamplingResult {
                decision: SamplingDecision::Drop,
                attributes: Vec::new(),
                trace_state: opentelemetry::trace::TraceState::default(),
            };
        }
        self.0.should_sample(parent, trace, name, kind, attributes, links)
    }
}

/// Carries batches to the collector on the process's runtime: the exporter's own thread has none.
#[derive(Debug)]
struct Collector {
    client: Arc<Mutex<reqwest::Client>>,
    /// Whether it was said that nobody answers, and nobody has answered since.
    said: Arc<AtomicBool>,
    runtime: Handle,
}

impl Collector {
    fn new() -> Result<Self, reqwest::Error> {
        let client = Arc::new(Mutex::new(connections()?));
        Ok(Self { client, said: Arc::default(), runtime: Handle::current() })
    }
}

/// What stands idle is asked whether it is there, with HTTP/2; and it is given up before a balancer does.
fn connections() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_PATIENCE)
        .timeout(PATIENCE)
        .pool_idle_timeout(IDLE)
        .http2_keep_alive_interval(PATIENCE)
        .http2_keep_alive_timeout(PATIENCE)
        .http2_keep_alive_while_idle(true)
        .user_agent(concat!("tokenvault/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// A batch was not taken in time: the next one is told over new connections.
fn leave(client: &Mutex<reqwest::Client>, said: &AtomicBool, address: &str) {
    if let Ok(new) = connections() {
        *client.lock() = new;
    }
    if !said.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            address,
            "the collector of traces did not answer in time: connections to it are left, and new ones made"
        );
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, said) = (Arc::clone(&self.client), Arc::clone(&self.said));
        let sent = self.runtime.spawn(async move {
            let request = reqwest::Request::try_from(request)?;
            let address = request.url().origin().ascii_serialization();
            let connections = client.lock().clone();
            let told = async {
                let answer = connections.execute(request).await?;
                let status = answer.status();
                Ok::<_, reqwest::Error>((status, answer.bytes().await?))
            }
            .await;
            match &told {
                Ok(_) => said.store(false, Ordering::Relaxed),
                Err(error) if error.is_timeout() && !error.is_connect() => leave(&client, &said, &address),
                Err(_) => {}
            }
            told
        });
        let (status, body) = sent.await??;
        let mut response = Response::new(body);
        *response.status_mut() = status;
        Ok(response)
    }
}

/// Makes a span follow the caller's trace, if its headers name one.
pub fn follow(span: &Span, headers: &HeaderMap) {
    let caller = TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    // It fails only where the span has begun already, and it has not been entered.
    drop(span.set_parent(caller));
}

/// Writes a span's trace into the headers of a call.
pub fn inject(span: &Span, headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&span.context(), &mut HeaderInjector(headers));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_stands_for_its_path_for_traces() {
        for (given, used) in [
            ("http://collector:4318", "http://collector:4318/v1/traces"),
            ("http://collector:4318/", "http://collector:4318/v1/traces"),
            ("https://collector/otlp/v1/traces", "https://collector/otlp/v1/traces"),
        ] {
            assert_eq!(signal(given), used);
        }
    }
}
