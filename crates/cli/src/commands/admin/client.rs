//! The admin API over mutual TLS: a request, and its answer or how it failed, in the words and the exit status of a command.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use http::header::DATE;
use http::{Method, StatusCode};
use reqwest::{Certificate, Identity, redirect, retry};
use serde_json::Value;
use tokenvault_core::ports::Clock;
use tokenvault_core::time::Timestamp;
use tokenvault_server::clock::SystemClock;
use url::Url;
use zeroize::Zeroizing;

use super::answer::text;
use super::connection::Connection;
use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than the vault gives itself for any request.
const TIMEOUT: Duration = Duration::from_secs(90);

/// A caller of one vault.
pub(super) struct AdminClient {
    http: reqwest::Client,
    address: Url,
    /// How far ahead of this machine's clock the vault's is, in milliseconds.
    clock_ahead_ms: AtomicI64,
    clock: SystemClock,
}

impl AdminClient {
    pub(super) fn new(connection: &Connection) -> Result<Self, Failure> {
        let wrong =
            |what: &str, file: &Path| Failure::usage(format!("--{what}: {} is not what it should be", file.display()));
        let authorities = Certificate::from_pem_bundle(&read("cacert", &connection.cacert)?).ok();
        let authorities = authorities.filter(|found| !found.is_empty());
        let authorities = authorities.ok_or_else(|| wrong("cacert", &connection.cacert))?;
        let mut pair = read("cert", &connection.cert)?;
        pair.push(b'\n');
        pair.extend_from_slice(&read("key", &connection.key)?);
        let identity = Identity::from_pem(&pair).map_err(|_| {
            Failure::usage(format!(
                "--cert, --key: {} and {} are not a certificate and its private key in PEM",
                connection.cert.display(),
                connection.key.display()
            ))
        })?;
        let built = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .retry(retry::never())
            .tls_certs_only(authorities)
            .identity(identity)
            .connect_timeout(CONNECT_TIMEOUT)
            .user_agent(concat!("tokenvault/", env!("CARGO_PKG_VERSION")))
            .build();
        let http = built.map_err(|error| Failure::usage(format!("--cert, --key: {}", innermost(&error))))?;
        Ok(Self {
            http,
            address: connection.address.clone(),
            clock_ahead_ms: AtomicI64::new(0),
            clock: SystemClock::start(),
        })
    }

    /// Where it calls.
    pub(super) fn address(&self) -> &Url {
        &self.address
    }

    /// The vault's time: this machine's may be wrong.
    pub(super) fn now(&self) -> Timestamp {
        Timestamp::from_millis(
            self.clock.now().as_millis().saturating_add_signed(self.clock_ahead_ms.load(Ordering::Relaxed)),
        )
    }

    /// Takes the vault's time from an answer's `Date`, where it differs from this machine's. `Date` has whole seconds.
    fn learn_clock(&self, answer: &reqwest::Response) {
        let told = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let told = told.and_then(|date| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        let own = i64::try_from(self.clock.now().as_millis()).unwrap_or(i64::MAX);
        if let Some(clock_ahead_ms) = told.and_then(|told| told.as_millisecond().checked_sub(own)) {
            let right = (-2_000..=1_000).contains(&clock_ahead_ms);
            self.clock_ahead_ms.store(if right { 0 } else { clock_ahead_ms }, Ordering::Relaxed);
        }
    }

    pub(super) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, Failure> {
        self.call(Method::GET, path, query, None).await
    }

    pub(super) async fn post(&self, path: &[&str], body: Option<&Value>) -> Result<Value, Failure> {
        self.call(Method::POST, path, &[], body).await
    }

    pub(super) async fn delete(&self, path: &[&str]) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, &[], None).await
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let mut request = self.http.request(method, self.url(path, query)).timeout(TIMEOUT);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.learn_clock(&answer);
        let status = answer.status();
        let body = answer.text().await.map_err(|error| self.unreachable(&error))?;
        let body: Value = serde_json::from_str(&body).unwrap_or_default();
        if status.is_success() { Ok(body) } else { Err(refused(status, &body)) }
    }

    /// A stream of events from behind the last one that was seen.
    pub(super) async fn stream(&self, query: &[(&str, String)]) -> Result<reqwest::Response, Failure> {
        let request = self.http.get(self.url(&["events"], query)).header("accept", "text/event-stream");
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        self.learn_clock(&answer);
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.text().await.unwrap_or_default();
        Err(refused(status, &serde_json::from_str(&body).unwrap_or_default()))
    }

    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.address.clone();
        url.path_segments_mut().expect("an https URL has a path").clear().extend(["admin", "v1"]).extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// How a call failed that was not answered.
    pub(super) fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { innermost(error) };
        Failure::unreachable(format!("{}: cannot be reached: {why}", self.address))
    }
}

fn read(option: &str, file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let content = std::fs::read(file);
    content
        .map(Zeroizing::new)
        .map_err(|error| Failure::usage(format!("--{option}: {}: cannot be read: {error}", file.display())))
}

/// What was at the bottom of it: the layers above say no more than that a request failed.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn refused(status: StatusCode, problem: &Value) -> Failure {
    let code = text(problem, "code");
    if code.is_empty() {
        return Failure::new(format!("the answer was {status}, and not a vault's: is this the admin listener?"));
    }
    let mut said = format!("{}: {} ({code})", text(problem, "title"), text(problem, "detail"));
    for member in ["reason", "replicas"] {
        let value = text(problem, member);
        if !value.is_empty() {
            said = format!("{said}; {member}: {value}");
        }
    }
    match status {
        StatusCode::NOT_FOUND => Failure::not_found(said),
        StatusCode::BAD_REQUEST => Failure::usage(said),
        _ => Failure::new(said),
    }
}
