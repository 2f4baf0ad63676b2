//! The thin layer: HTTP/1.1 on the loopback interface around one [`Keycloak`], with faults in between. It decides
//! nothing; what a request means is the machine's to say.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt as _;
use url::form_urlencoded;

use crate::admin::AdminError;
use crate::answer::{Answer, Request};
use crate::clock::{DoubleClock, DoubleSystemClock};
use crate::config::{Features, RealmConfig};
use crate::entropy::{DoubleEntropy, DoubleOsEntropy};
use crate::faults::{Fault, Faults, Moment};
use crate::journal::{Endpoint, RequestJournal};
use crate::machine::Keycloak;

/// Bodies above this are refused; no token request comes near it.
const MAX_BODY: usize = 256 * 1024;

/// How to start a [`Double`].
pub struct DoubleConfig {
    realms: Vec<RealmConfig>,
    features: Features,
    clock: Arc<dyn DoubleClock>,
    entropy: Box<dyn DoubleEntropy>,
    address: SocketAddr,
    public_url: Option<String>,
}

impl Default for DoubleConfig {
    fn default() -> Self {
        Self {
            realms: Vec::new(),
            features: Features::default(),
            clock: Arc::new(DoubleSystemClock),
            entropy: Box::new(DoubleOsEntropy),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            public_url: None,
        }
    }
}

impl DoubleConfig {
    /// The system's clock and randomness, any free port of 127.0.0.1, every feature, no realm yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this realm from the start.
    #[must_use]
    pub fn realm(mut self, realm: RealmConfig) -> Self {
        self.realms.push(realm);
        self
    }

    /// With these features.
    #[must_use]
    pub fn features(mut self, features: Features) -> Self {
        self.features = features;
        self
    }

    /// With this time.
    #[must_use]
    pub fn clock(mut self, clock: impl DoubleClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// With this randomness.
    #[must_use]
    pub fn entropy(mut self, entropy: impl DoubleEntropy) -> Self {
        self.entropy = Box::new(entropy);
        self
    }

    /// On this address instead of a free port of 127.0.0.1.
    #[must_use]
    pub fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Issuers begin with this URL (no slash at the end) instead of the address that is listened on.
    #[must_use]
    pub fn public_url(mut self, url: impl Into<String>) -> Self {
        self.public_url = Some(url.into());
        self
    }
}

/// Why a [`Double`] did not start.
#[derive(Debug, thiserror::Error)]
pub enum DoubleStartError {
    /// The address cannot be listened on.
    #[error("cannot listen")]
    Listen(#[from] io::Error),
    /// A realm is not possible.
    #[error(transparent)]
    Realm(#[from] AdminError),
}

/// A running stand-in. It stops when it is dropped, connections and all.
#[derive(Debug)]
pub struct Double {
    base_url: String,
    handle: Handle,
    task: JoinHandle<()>,
}

impl Double {
    /// Starts listening and answers from then on.
    pub async fn start(config: DoubleConfig) -> Result<Self, DoubleStartError> {
        let listener = TcpListener::bind(config.address).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let issuer = config.public_url.unwrap_or_else(|| base_url.clone());
        let mut keycloak = Keycloak::new(issuer, config.features, UsingBox(config.entropy));
        for realm in config.realms {
            keycloak.add_realm(realm)?;
        }
        let handle = Handle {
            keycloak: Arc::new(Mutex::new(keycloak)),
            clock: config.clock,
            faults: Faults::default(),
            arrivals: Arc::default(),
        };
        let task = tokio::spawn(accept(listener, handle.clone()));
        Ok(Self { base_url, handle, task })
    }

    /// Where it listens: `http://127.0.0.1:port`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The way to everything inside, also from other tasks.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.handle.faults
    }

    /// What arrived so far.
    pub fn journal(&self) -> RequestJournal {
        self.handle.journal()
    }

    /// Stops and waits until nothing is answered any more.
    pub async fn shutdown(mut self) {
        self.task.abort();
        // The task was told to end and has no result: there is nothing to learn from how it ended.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reaches into a running stand-in. Clones reach the same.
#[derive(Clone)]
pub struct Handle {
    keycloak: Arc<Mutex<Keycloak>>,
    clock: Arc<dyn DoubleClock>,
    faults: Faults,
    arrivals: Arc<Mutex<RequestJournal>>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Does something to the machine, between two requests. The closure is handed the present moment in milliseconds.
    pub fn with<T>(&self, act: impl FnOnce(&mut Keycloak, u64) -> T) -> T {
        act(&mut self.keycloak.lock(), self.clock.now_ms())
    }

    /// The faults to come.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// What arrived so far, including what a fault then swallowed.
    pub fn journal(&self) -> RequestJournal {
        self.arrivals.lock().clone()
    }

    /// What was carried out so far.
    pub fn processed(&self) -> RequestJournal {
        self.keycloak.lock().journal().clone()
    }

    /// The application alone, for those who serve it themselves. There is no connection to close then: a fault that
    /// would, answers 502 without a body.
    pub fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }

    fn process(&self, request: &Request) -> Answer {
        self.with(|keycloak, now_ms| keycloak.handle(now_ms, request))
    }
}

/// Marks an answer that must not be sent: its connection is closed instead.
#[derive(Debug, Clone, Copy)]
struct CloseConnection;

#[derive(Debug, thiserror::Error)]
#[error("the connection is closed on purpose")]
struct Closed;

async fn accept(listener: TcpListener, handle: Handle) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A connection that died in the queue is nobody's business; the next one may be fine.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, handle.router()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection. An answer that carries [`CloseConnection`] is not sent: the connection is closed instead.
async fn serve_connection(stream: TcpStream, router: Router) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let answer = router.oneshot(request.map(Body::new)).await;
            let Ok(answer) = answer;
            match answer.extensions().get::<CloseConnection>() {
                Some(_) => Err(Closed),
                None => Ok(answer),
            }
        }
    });
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn serve(State(handle): State<Handle>, request: axum::extract::Request) -> Response {
    let Some(request) = read(request).await else { return plain(StatusCode::PAYLOAD_TOO_LARGE) };
    let endpoint = Endpoint::of(&request);
    handle.arrivals.lock().note(&request);
    let Some(fault) = handle.faults.take(endpoint) else { return respond(&handle.process(&request)) };
    tracing::debug!(?endpoint, ?fault, "misbehaving");
    match fault {
        Fault::Delay(by) => {
            let answer = handle.process(&request);
            tokio::time::sleep(by).await;
            respond(&answer)
        }
        Fault::Stall(by) => {
            tokio::time::sleep(by).await;
            respond(&handle.process(&request))
        }
        Fault::Status(moment, status) => {
            process_if_after(&handle, &request, moment);
            let body = serde_json::json!({
                "error": "unknown_error",
                "error_description": "For more on this error consult the server log.",
            });
            respond(&Answer::json(status, &body))
        }
        Fault::Html(moment, status) => {
            process_if_after(&handle, &request, moment);
            respond(&Answer::html(status, "<html><body><h1>Something is wrong</h1></body></html>\n"))
        }
        Fault::Cut(after) => cut(&handle.process(&request), after),
        Fault::Drop(moment) => {
            process_if_after(&handle, &request, moment);
            let mut answer = plain(StatusCode::BAD_GATEWAY);
            answer.extensions_mut().insert(CloseConnection);
            answer
        }
    }
}

fn process_if_after(handle: &Handle, request: &Request, moment: Moment) {
    if moment == Moment::After {
        handle.process(request);
    }
}

async fn read(request: axum::extract::Request) -> Option<Request> {
    let (parts, body) = request.into_parts();
    let text = |name| parts.headers.get(name).and_then(|v| v.to_str().ok());
    let is_form = text(header::CONTENT_TYPE).is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
    let authorization = text(header::AUTHORIZATION).map(str::to_owned);
    let body = axum::body::to_bytes(body, MAX_BODY).await.ok()?;
    let form = if is_form { form_urlencoded::parse(&body).into_owned().collect() } else { Vec::new() };
    Some(Request { method: parts.method.to_string(), path: parts.uri.path().to_owned(), authorization, form })
}

fn respond(answer: &Answer) -> Response {
    let mut response = head(answer, answer.body.len());
    *response.body_mut() = Body::from(answer.body.clone());
    response
}

/// Announces the whole body and breaks off in the middle.
fn cut(answer: &Answer, after: usize) -> Response {
    let mut response = head(answer, answer.body.len());
    let part = Bytes::copy_from_slice(&answer.body.as_bytes()[..after.min(answer.body.len())]);
    let frames = stream::unfold(Some(part), |part| async {
        let Some(part) = part else {
            // The part must have left before the connection breaks, or it would be lost with it.
            tokio::time::sleep(Duration::from_millis(20)).await;
            return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None));
        };
        Some((Ok(part), None))
    });
    *response.body_mut() = Body::from_stream(frames);
    response
}

fn head(answer: &Answer, length: usize) -> Response {
    let mut response = plain(StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    let headers = response.headers_mut();
    if let Some(kind) = answer.content_type {
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    }
    if answer.status != 204 {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Lets a boxed source be handed on as a source.
struct UsingBox(Box<dyn DoubleEntropy>);

impl DoubleEntropy for UsingBox {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}
