//! A collector that takes traces as OTLP over HTTP (protobuf) and keeps them.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokio::net::TcpListener;

use super::process::{SOON, poll};
use super::{Failure, Result};

/// One span, as it was received.
#[derive(Debug, Clone)]
pub struct Span {
    /// Its name.
    pub name: String,
    /// Its trace's id, in hexadecimal.
    pub trace: String,
    /// Its own id, in hexadecimal.
    pub id: String,
    /// Its parent's id; empty where it has none.
    pub parent: String,
    /// Its kind, as OTLP numbers them.
    pub kind: i32,
    attributes: Vec<(String, String)>,
}

impl Span {
    /// The value of an attribute; empty where it has none of this name.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// What was received until now.
#[derive(Debug, Clone, Default)]
pub struct ReceivedTraces {
    spans: Vec<Span>,
    services: Vec<String>,
    headers: HeaderMap,
    raw: Vec<u8>,
}

impl ReceivedTraces {
    /// The kind of a span that answers a request.
    pub const SERVER: i32 = 2;
    /// The kind of a span that makes a request.
    pub const CLIENT: i32 = 3;

    /// All spans.
    pub fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }

    /// The spans of one trace.
    pub fn of(&self, trace: &str) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.trace == trace)
    }

    /// The span of this name in a trace.
    pub fn named(&self, trace: &str, name: &str) -> Result<&Span> {
        let found = self.of(trace).find(|span| span.name == name);
        found.ok_or_else(|| Failure::new(format!("no {name} among {:#?}", self.spans)))
    }

    /// A header of the last request.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The services that sent them, each once.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let mut services: Vec<&str> = self.services.iter().map(String::as_str).collect();
        services.dedup();
        services.into_iter()
    }

    fn add(&mut self, headers: HeaderMap, body: &Bytes) -> std::result::Result<(), prost::DecodeError> {
        let request = ExportTraceServiceRequest::decode(body.clone())?;
        self.headers = headers;
        self.raw.extend_from_slice(body);
        for resource in request.resource_spans {
            let attributes = texts(resource.resource.map(|resource| resource.attributes).unwrap_or_default());
            self.services
                .extend(attributes.into_iter().filter(|(key, _)| key == "service.name").map(|(_, value)| value));
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.extend(spans.map(|span| Span {
                name: span.name,
                trace: hexadecimal(&span.trace_id),
                id: hexadecimal(&span.span_id),
                parent: hexadecimal(&span.parent_span_id),
                kind: span.kind,
                attributes: texts(span.attributes),
            }));
        }
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // a String takes whatever is written
        text
    })
}

fn texts(attributes: Vec<KeyValue>) -> Vec<(String, String)> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.into_iter().map(|attribute| (attribute.key, text(attribute.value))).collect()
}

/// A running collector.
pub struct Collector {
    address: String,
    received: Arc<Mutex<ReceivedTraces>>,
}

impl Collector {
    /// Starts one.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, received) =
            (format!("http://{}", listener.local_addr()?), Arc::new(Mutex::new(ReceivedTraces::default())));
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&received));
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, received })
    }

    /// Its address, as the endpoint of an exporter.
    pub fn url(&self) -> String {
        self.address.clone()
    }

    /// Every byte that was received.
    pub fn raw(&self) -> Vec<u8> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).raw.clone()
    }

    /// Waits until what was received is enough.
    pub async fn until(&self, enough: impl Fn(&ReceivedTraces) -> bool) -> Result<ReceivedTraces> {
        let enough = &enough;
        poll("traces", SOON, || async move {
            let received = self.received.lock().unwrap_or_else(PoisonError::into_inner).clone();
            enough(&received).then_some(received)
        })
        .await
    }
}

async fn take(State(received): State<Arc<Mutex<ReceivedTraces>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let binary = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-protobuf");
    let decoded = received.lock().unwrap_or_else(PoisonError::into_inner).add(headers, &body);
    if binary && decoded.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}
