//! One connection, from its handshake to its end.
//!
//! It ends when it is quiet for too long or when the vault leaves: requests in hand are finished first. It also ends when
//! its certificate would no longer be let in; then it is told so at once, and cut a moment later whatever it has in hand.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::server::Acceptor;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;

use super::WriteTimeout;
use super::activity;
use super::activity::{Activity, TrackedBody};
use super::caller_connections::{CallerConnections, CallerLookup};
use super::handshake_executor::HandshakeExecutor;
use super::handshakes::Handshake;
use super::heads::{Heads, MAX_HEAD, MAX_PASSED, Sifted};
use super::limits::ConnectionLimits;
use super::reload::TlsState;
use super::settings::TlsSettings;
use super::zeroized::ZeroizedReads;
use crate::telemetry::metrics::Metrics;
use crate::tls::Peer;
use crate::web::shutdown::Shutdown;

/// How long a closing connection without a request may take to go; a client that does not let it go is cut.
const LINGER: Duration = Duration::from_secs(5);
/// What is left to a connection whose certificate is not believed any more. Files are looked at each second, so such a
/// one is gone within five seconds of their change.
const FAREWELL: Duration = Duration::from_secs(2);
/// After one look at a certificate the next is not taken sooner: the client chooses which certificates it sends along, and
/// so when something of its chain expires.
pub(super) const REST: Duration = Duration::from_secs(3);
/// Longer than this no certificate is believed without another look: the system's clock may have been set.
const BELIEF: Duration = Duration::from_mins(1);
const MAX_STREAMS: u32 = 64;
/// What of a body may lie about unread: no route takes a larger one.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same of all bodies of a connection.
const CONNECTION_WINDOW: u32 = 128 * 1024;
/// Streams the client reset before they were looked at ("rapid reset").
const MAX_PENDING_RESETS: usize = 20;
/// Streams reset here because of the client's errors ("made you reset").
const MAX_ERROR_RESETS: usize = 64;
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What answers the requests of a listener.
pub trait HttpService:
    tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> HttpService for S where
    S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

/// What all connections of a listener have in common.
pub(super) struct Connections<S> {
    state: Arc<TlsState>,
    requests: S,
    limits: ConnectionLimits,
    metrics: Option<Arc<Metrics>>,
    shutdown: Shutdown,
    http: Builder<TokioExecutor>,
    by_caller: Arc<CallerConnections>,
    handshake_executor: HandshakeExecutor,
}

impl<S: HttpService> Connections<S> {
    pub(super) fn new(
        state: Arc<TlsState>,
        requests: S,
        limits: ConnectionLimits,
        callers: Arc<dyn CallerLookup>,
        metrics: Option<Arc<Metrics>>,
        shutdown: Shutdown,
    ) -> Self {
        let (http, by_caller) = (http_settings(&limits), CallerConnections::new(limits.caller_connections, callers));
        Self {
            state,
            requests,
            limits,
            metrics,
            shutdown,
            http,
            by_caller,
            handshake_executor: HandshakeExecutor::start(),
        }
    }

    /// Serves a connection until it ends. Once its handshake is done it takes one of the slots.
    pub(super) async fn serve(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        handshake: Handshake,
        slots: Arc<Semaphore>,
    ) {
        let _open = self.metrics.as_deref().map(CountedConnection::count);
        // Before the handshake, so that a change during it is noticed.
        let settings = self.state.subscribe();
        let handshaking = self.complete_handshake(stream, address, settings.borrow().server_config(), &handshake);
        let stream = tokio::select! {
            stream = handshaking => stream,
            () = handshake.cut() => return self.refused("handshake_cut"),
            () = self.shutdown.stopping().cancelled() => return,
        };
        let Some(stream) = stream else { return };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
        let peer = chain.first().cloned().map(Peer::new);
        // Impossible, as the verifier demands a certificate; and the door stays shut if it were not.
        if peer.is_none() && settings.borrow().wants_certificates() {
            return;
        }
        if peer.is_none() {
            // Strangers may be cut at any time for the sake of others, or as many as there are places would keep all others out.
            return tokio::select! {
                () = self.exchange(stream, peer, CertificateCheck { chain, settings, address }) => {}
                () = handshake.cut() => self.refused("handshake_cut"),
            };
        }
        let share = peer.as_ref().map(|peer| self.by_caller.take(peer));
        if matches!(share, Some(None)) {
            return self.refused("too_many_connections");
        }
        // Whoever finds none free is in its handshake still, and may be cut like any other.
        let slot = tokio::select! {
            slot = slots.acquire_owned() => slot,
            () = handshake.cut() => return self.refused("handshake_cut"),
            () = self.shutdown.stopping().cancelled() => return,
        };
        drop(handshake);
        let _held = (share, slot);
        self.exchange(stream, peer, CertificateCheck { chain, settings, address }).await;
    }

    fn refused(&self, reason: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.process.rejected(reason);
        }
    }

    async fn complete_handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        config: Arc<rustls::ServerConfig>,
        handshake: &Handshake,
    ) -> Option<TlsStream<ZeroizedReads<WriteTimeout<TcpStream>>>> {
        // Without it small answers wait for the client's acknowledgements; with an error the connection is slower.
        stream.set_nodelay(true).ok();
        let accepted = tokio::time::timeout(self.limits.handshake_timeout, async {
            let stream = ZeroizedReads(WriteTimeout::new(stream, self.limits.write_timeout));
            let greeting = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
            handshake.greeted();
            self.handshake_executor.complete(config, greeting).await
        });
        match accepted.await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                log_handshake_error(&error, address);
                None
            }
            Err(_) => {
                tracing::debug!(%address, "a TLS handshake took too long");
                None
            }
        }
    }

    /// HTTP, until either side has enough.
    async fn exchange(
        &self,
        stream: TlsStream<ZeroizedReads<WriteTimeout<TcpStream>>>,
        peer: Option<Peer>,
        mut check: CertificateCheck,
    ) {
        // The protocol is agreed on by now. Left to look for it in the first bytes, hyper has no time-out for them.
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let http = self.http.clone();
        let http = if http2 { http.http2_only() } else { http.http1_only() };
        let activity = Arc::new(Activity::default());
        let going = (!http2).then(|| self.shutdown.clone());
        let service = service(self.requests.clone(), peer, Arc::clone(&activity), going);
        let stream = Sifted::new(stream, self.limits.heads, http2);
        let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut look = pin!(tokio::time::sleep(self.limits.idle_timeout));
        let mut turn = pin!(tokio::time::sleep(check.due_in()));
        let mut cut = pin!(tokio::time::sleep(FAREWELL));
        let (mut closing, mut lost, mut asked, mut still) = (false, false, false, Duration::ZERO);
        loop {
            let next = tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(address = %check.address, error, "a connection broke");
                    }
                    return;
                }
                () = cut.as_mut(), if lost => return,
                () = self.shutdown.stopping().cancelled(), if !closing => NextAction::Close,
                () = self.shutdown.draining(), if http2 && !asked => {
                    asked = true;
                    // One that has asked for nothing yet came here just now, and would come again.
                    if activity.has_begun() { NextAction::Close } else { NextAction::Stay }
                }
                () = check.settings_changed(), if !lost => NextAction::Check,
                () = turn.as_mut(), if !lost => NextAction::Check,
                () = look.as_mut() => {
                    let quiet = activity.quiet_since_last_look();
                    let passed = if closing { LINGER } else { self.limits.idle_timeout };
                    still = if activity.still_since_last_look() { still + passed } else { Duration::ZERO };
                    if (closing && quiet) || still >= self.limits.answer_timeout {
                        return;
                    }
                    look.set(tokio::time::sleep(if closing { LINGER } else { self.limits.idle_timeout }));
                    if quiet { NextAction::Close } else { NextAction::Stay }
                }
            };
            if matches!(next, NextAction::Check) {
                turn.set(tokio::time::sleep(check.due_again_in()));
                lost = !check.passes();
                cut.set(tokio::time::sleep(FAREWELL));
            }
            if !closing && (lost || matches!(next, NextAction::Close)) {
                closing = true;
                connection.as_mut().graceful_shutdown();
                look.set(tokio::time::sleep(LINGER));
            }
        }
    }
}

/// What is to be done with a connection after something has happened.
enum NextAction {
    Stay,
    /// Check its certificate again.
    Check,
    /// Let it end.
    Close,
}

/// The certificate that a connection was let in with; it is checked again while the connection lasts.
pub(super) struct CertificateCheck {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) settings: watch::Receiver<Arc<TlsSettings>>,
    pub(super) address: SocketAddr,
}

impl CertificateCheck {
    /// Waits for new settings.
    async fn settings_changed(&mut self) {
        if self.settings.changed().await.is_err() {
            // The settings are gone with the listener, which stops its connections by itself.
            std::future::pending::<()>().await;
        }
    }

    /// The time until the next check is due.
    pub(super) fn due_in(&self) -> Duration {
        self.settings.borrow().admits_for(&self.chain).map_or(BELIEF, |time| time.min(BELIEF))
    }

    /// The same, just after a check.
    pub(super) fn due_again_in(&self) -> Duration {
        self.due_in().max(REST)
    }

    /// Whether the certificate would be let in now: it may have expired or been revoked, or its CA may have gone.
    fn passes(&mut self) -> bool {
        let settings = Arc::clone(&self.settings.borrow_and_update());
        let verdict = settings.admits(&self.chain);
        if let Err(error) = &verdict {
            tracing::info!(address = %self.address, %error, "a connection is closed: its certificate is not valid any more");
        }
        verdict.is_ok()
    }
}

/// How HTTP is spoken on a listener with these limits.
pub fn http_settings(limits: &ConnectionLimits) -> Builder<TokioExecutor> {
    // Of a sifted head hyper sees no more than of another one; but clients of HTTP/2 are told what they may send.
    let told = match limits.heads {
        Heads::Whole => MAX_PASSED,
        Heads::Sifted(_) => MAX_HEAD,
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout).max_buf_size(MAX_PASSED);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS)
        .max_header_list_size(u32::try_from(told).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Over HTTP/1.1, which says of an answer that it is the last, connections are asked to move by their answers.
fn service<S: HttpService>(
    requests: S,
    peer: Option<Peer>,
    activity: Arc<Activity>,
    going: Option<Shutdown>,
) -> impl Service<Request<Incoming>, Response = Response<TrackedBody>, Error = Infallible, Future: Send + 'static> {
    service_fn(move |mut request: Request<Incoming>| {
        let in_hand: activity::RequestInFlight = activity.begin();
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        // An empty body of the framework's takes no memory, one of hyper's does.
        let request = request.map(|body| if body.is_end_stream() { Body::empty() } else { Body::new(body) });
        let answer = requests.clone().oneshot(request);
        let going = going.clone();
        async move {
            let mut answer = answer.await?.map(|body| in_hand.until_sent(body));
            if going.is_some_and(|shutdown| shutdown.is_draining()) {
                answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer)
        }
    })
}

/// Refused certificates are worth an operator's attention; strangers that speak no TLS are not.
fn log_handshake_error(error: &std::io::Error, address: SocketAddr) {
    use rustls::Error::{InvalidCertificate, NoCertificatesPresented};
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    if matches!(cause, Some(InvalidCertificate(_) | NoCertificatesPresented)) {
        tracing::info!(%address, %error, "a client certificate was refused");
    } else {
        tracing::debug!(%address, %error, "a TLS handshake failed");
    }
}

/// Counts an open connection.
struct CountedConnection<'a>(&'a Metrics);

impl<'a> CountedConnection<'a> {
    fn count(metrics: &'a Metrics) -> Self {
        metrics.process.connection_opened();
        Self(metrics)
    }
}

impl Drop for CountedConnection<'_> {
    fn drop(&mut self) {
        self.0.process.connection_closed();
    }
}
