//! A listener with a small router behind it, and clients for it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::routing::get;
use axum::{Extension, Router};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::{AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certificates::{Files, Identity};
use crate::config::ServerSection;
use crate::notices::Notices;
use crate::telemetry::metrics::Metrics;
use crate::tls::Peer;
use crate::tls::{self, CallerLookup, ConnectionLimits, TlsState, serve};
use crate::web::shutdown::Shutdown;

/// Within this time everything happens that happens at all.
const DEADLINE: Duration = Duration::from_secs(20);

pub(super) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| panic!("{what}: not within {DEADLINE:?}"))
}

/// Whoever has a URI is known by it.
struct ByUri;

impl CallerLookup for ByUri {
    fn caller_name(&self, peer: &Peer) -> Option<String> {
        peer.names().ok()?.uri.clone()
    }
}

/// What the handler of `/slow` waits for, and tells.
pub(super) struct Slow {
    pub(super) entered: Semaphore,
    pub(super) leave: Semaphore,
}

pub(super) struct Stage {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<TlsState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) notices: Arc<Notices>,
    pub(super) slow: Arc<Slow>,
    pub(super) shutdown: Shutdown,
    pub(super) served: JoinHandle<()>,
}

impl Stage {
    pub(super) async fn start(config: &ServerSection) -> Self {
        Self::start_with(config, crate::api::connection_limits(config)).await
    }

    pub(super) async fn start_with(files: impl Into<tls::ListenerFiles>, limits: ConnectionLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = TlsState::load(files).unwrap();
        let metrics = Arc::new(Metrics::new());
        let slow = Arc::new(Slow { entered: Semaphore::new(0), leave: Semaphore::new(0) });
        let shutdown = Shutdown::default();
        let serving = serve(
            listener,
            Arc::clone(&state),
            router(Arc::clone(&slow)),
            limits,
            Arc::new(ByUri),
            Some(Arc::clone(&metrics)),
            shutdown.clone(),
        );
        let notices = Notices::new(Arc::clone(&metrics));
        Self { address, state, metrics, notices, slow, shutdown, served: tokio::spawn(serving) }
    }

    /// Opens a connection: TCP and the client's side of the handshake.
    pub(super) async fn connect(&self, client: &ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        soon("the handshake", TlsConnector::from(Arc::new(client.clone())).connect(name, tcp)).await
    }

    /// A connection that speaks HTTP/1.1.
    pub(super) async fn http1(&self, client: &ClientConfig) -> http1::SendRequest<Body> {
        let stream = self.connect(client).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// A connection that speaks HTTP/2, as agreed on in the handshake.
    pub(super) async fn http2(&self, client: &ClientConfig) -> http2::SendRequest<Body> {
        let mut client = client.clone();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.connect(&client).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    /// The alert by which the listener refuses a client.
    pub(super) async fn refusal(&self, client: &ClientConfig) -> AlertDescription {
        let error = match self.connect(client).await {
            Err(error) => error,
            // With TLS 1.3 a client has finished its side before the listener has looked at its certificate.
            Ok(mut stream) => match soon("the refusal", stream.read_u8()).await {
                Err(error) => error,
                Ok(_) => panic!("the listener let the client in"),
            },
        };
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            _ => panic!("no alert: {error}"),
        }
    }

    /// Whether the listener's gauge of open connections stands at this number soon.
    pub(super) async fn until_open(&self, connections: usize) {
        let line = format!("tokenvault_connections {connections}\n");
        let polled = async {
            while !self.metrics.encode().contains(&line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(&line, polled).await;
    }
}

fn router(slow: Arc<Slow>) -> Router {
    let wait = move || async move {
        slow.entered.add_permits(1);
        slow.leave.acquire().await.unwrap().forget();
        "done"
    };
    Router::new()
        .route("/whoami", get(|Extension(peer): Extension<Peer>| async move { peer.certificate().to_vec() }))
        .route("/known", get(|peer: Option<Extension<Peer>>| async move { peer.is_some().to_string() }))
        .route("/slow", get(wait))
}

/// A client that trusts the authority and shows this certificate.
pub(super) fn client(files: &Files, identity: Option<&Identity>) -> ClientConfig {
    client_of(files, identity, &[&rustls::version::TLS13])
}

pub(super) fn client_of(
    files: &Files,
    identity: Option<&Identity>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(files.authority.der()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_webpki_verifier(verifier);
    match identity {
        Some(identity) => builder.with_client_auth_cert(vec![identity.leaf()], identity.key()).unwrap(),
        None => builder.with_no_client_auth(),
    }
}

/// The body of a `GET`, if it was answered with 200.
pub(super) async fn get1(sender: &mut http1::SendRequest<Body>, path: &str) -> hyper::Result<Vec<u8>> {
    soon("an answer", async { body(sender.send_request(request(path)).await?).await }).await
}

pub(super) async fn get2(sender: &mut http2::SendRequest<Body>, path: &str) -> hyper::Result<Vec<u8>> {
    soon("an answer", async { body(sender.send_request(request(path)).await?).await }).await
}

pub(super) fn request(path: &str) -> hyper::Request<Body> {
    hyper::Request::get(format!("https://localhost{path}")).header("host", "localhost").body(Body::empty()).unwrap()
}

pub(super) async fn body(answer: hyper::Response<hyper::body::Incoming>) -> hyper::Result<Vec<u8>> {
    assert_eq!(answer.status(), 200);
    Ok(answer.into_body().collect().await?.to_bytes().to_vec())
}
