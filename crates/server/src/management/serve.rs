//! The management listener: whoever may reach it is asked for no certificate, so nobody is given much: one request over
//! HTTP/1.1, and little time for it. For a connection too many, the oldest of the busiest address is cut, and first of all
//! one that has not asked for anything yet; so a probe gets in whatever else is about.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::tls::{Handshake, Handshakes, WriteTimeout};

/// Connections at a time.
pub const MAX_CONNECTIONS: usize = 128;
const MAX_HEAD: usize = 16 * 1024;
/// For a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// For the other side to take something of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// For all of a connection. A look at all parts takes some seconds where they do not answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts when the system has no more file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then lets the requests in hand finish. Holds so many connections at most.
pub async fn serve(listener: TcpListener, router: Router, most: usize, stop: CancellationToken) {
    let (http, open, places) = (http(), TaskTracker::new(), Handshakes::new(most));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, address)) => {
                let place = Arc::new(places.begin(address.ip()));
                let (http, router, stop) = (http.clone(), router.clone(), stop.clone());
                open.spawn(async move {
                    let exchange = exchange(&http, stream, (router, Arc::clone(&place)), stop);
                    tokio::select! {
                        ended = tokio::time::timeout(TIMEOUT, exchange) => {
                            if ended.is_err() {
                                tracing::debug!(%address, "a connection took too long");
                            }
                        }
                        () = place.cut() => {}
                    }
                });
            }
            Err(error) => {
                tracing::debug!(%error, "no connection can be accepted for now");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    open.close();
    open.wait().await;
}

fn http() -> Builder {
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD).keep_alive(false);
    builder
}

async fn exchange(
    http: &Builder,
    stream: TcpStream,
    (router, place): (Router, Arc<Handshake>),
    stop: CancellationToken,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        place.greeted();
        let answer = router.clone().oneshot(request.map(Body::new));
        async move { answer.await.map_err(|never: Infallible| never) }
    });
    let stream = TokioIo::new(WriteTimeout::new(stream, WRITE_TIMEOUT));
    let mut connection = pin!(http.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn said(head: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        let router = Router::new().route("/", get(async || "up"));
        let serving = tokio::spawn(serve(listener, router, MAX_CONNECTIONS, stop.clone()));
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(head.as_bytes()).await.ok();
        let mut said = vec![0; 1024];
        let read = stream.read(&mut said).await.expect("an answer");
        stop.cancel();
        serving.await.expect("it ends though the connection is open");
        String::from_utf8_lossy(&said[..read]).into_owned()
    }

    #[tokio::test]
    async fn a_head_has_16_kib_at_most() {
        let head =
            |length: usize| format!("GET / HTTP/1.1\r\nhost: x\r\nx-okapi-token: {}\r\n\r\n", "e".repeat(length));
        assert!(said(head(15_000)).await.starts_with("HTTP/1.1 200"));
        assert!(said(head(33_000)).await.starts_with("HTTP/1.1 431"));
    }
}
