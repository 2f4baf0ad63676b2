//! A collector that takes OTLP over HTTP (protobuf), and a door before Keycloak that notes which trace a call belongs to.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use prost::Message;
use tokenvault_tests::harness::process::{SOON, poll};
use tokenvault_tests::harness::{Failure, Result};
use tokio::net::TcpListener;

/// One span, as it was told.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) kind: i32,
    attributes: Vec<(String, String)>,
}

impl Span {
    pub(crate) fn attribute(&self, name: &str) -> &str {
        self.attributes.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

/// What was told until now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    spans: Vec<Span>,
    services: Vec<String>,
    headers: HeaderMap,
    raw: Vec<u8>,
}

impl Told {
    pub(crate) const SERVER: i32 = 2;
    pub(crate) const CLIENT: i32 = 3;

    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span> {
        self.spans.iter()
    }

    /// Of one trace.
    pub(crate) fn of(&self, trace: &str) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.trace == trace)
    }

    pub(crate) fn named(&self, trace: &str, name: &str) -> Result<&Span> {
        let found = self.of(trace).find(|span| span.name == name);
        found.ok_or_else(|| Failure::new(format!("no {name} among {:#?}", self.spans)))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The services, each once.
    pub(crate) fn services(&self) -> impl Iterator<Item = &str> {
        let mut services: Vec<&str> = self.services.iter().map(String::as_str).collect();
        services.dedup();
        services.into_iter()
    }

    fn hear(&mut self, headers: HeaderMap, body: &Bytes) -> std::result::Result<(), prost::DecodeError> {
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

pub(crate) struct Collector {
    address: String,
    told: Arc<Mutex<Told>>,
}

impl Collector {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, told) = (format!("http://{}", listener.local_addr()?), Arc::new(Mutex::new(Told::default())));
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&told));
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, told })
    }

    pub(crate) fn url(&self) -> String {
        self.address.clone()
    }

    /// Every byte that was told.
    pub(crate) fn raw(&self) -> Vec<u8> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).raw.clone()
    }

    /// Waits until what was told is enough.
    pub(crate) async fn until(&self, enough: impl Fn(&Told) -> bool) -> Result<Told> {
        let enough = &enough;
        poll("traces", SOON, || async move {
            let told = self.told.lock().unwrap_or_else(PoisonError::into_inner).clone();
            enough(&told).then_some(told)
        })
        .await
    }
}

async fn take(State(told): State<Arc<Mutex<Told>>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let binary = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/x-protobuf");
    let heard = told.lock().unwrap_or_else(PoisonError::into_inner).hear(headers, &body);
    if binary && heard.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

/// A door before Keycloak.
pub(crate) struct Before {
    address: String,
    heard: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Door {
    upstream: String,
    heard: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

impl Before {
    pub(crate) async fn keycloak(upstream: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, heard) = (format!("http://{}", listener.local_addr()?), Arc::default());
        let http = reqwest::Client::builder().no_proxy().build()?;
        let door = Door { upstream: upstream.to_owned(), heard: Arc::clone(&heard), http };
        let router = Router::new().fallback(pass).with_state(door);
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, heard })
    }

    pub(crate) fn url(&self) -> String {
        self.address.clone()
    }

    /// The `traceparent` of each call that had one.
    pub(crate) fn traceparents(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn pass(State(door): State<Door>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Some(trace) = headers.get("traceparent").and_then(|value| value.to_str().ok()) {
        door.heard.lock().unwrap_or_else(PoisonError::into_inner).push(trace.to_owned());
    }
    let mut request = door.http.request(method, format!("{}{uri}", door.upstream)).body(body);
    if let Some(kind) = headers.get(header::CONTENT_TYPE) {
        request = request.header(header::CONTENT_TYPE, kind);
    }
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, kind) = (answer.status(), answer.headers().get(header::CONTENT_TYPE).cloned());
    let mut response = (status, answer.bytes().await.unwrap_or_default()).into_response();
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}
