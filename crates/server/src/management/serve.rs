//! The management listener: whoever may reach it is asked for no certificate, so nobody is given much. Probes and scrapers
//! speak HTTP/1.1.

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
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 512;
const MAX_HEAD: usize = 16 * 1024;
/// For a request's head, and between two requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two attempts when the system has no more file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(200);

/// Serves until `stop`, then lets the requests in hand finish.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let (http, open) = (http(), TaskTracker::new());
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let next = async || {
        let slot = Arc::clone(&slots).acquire_owned().await.expect("nobody closes the semaphore");
        (listener.accept().await, slot)
    };
    while let Some((accepted, slot)) = stop.run_until_cancelled(next()).await {
        match accepted {
            Ok((stream, _)) => {
                let (http, router, stop) = (http.clone(), router.clone(), stop.clone());
                open.spawn(async move {
                    exchange(&http, stream, router, stop).await;
                    drop(slot);
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
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(MAX_HEAD);
    builder
}

async fn exchange(http: &Builder, stream: TcpStream, router: Router, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let answer = router.clone().oneshot(request.map(Body::new));
        async move { answer.await.map_err(|never: Infallible| never) }
    });
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
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
        let serving = tokio::spawn(serve(listener, Router::new().route("/", get(async || "up")), stop.clone()));
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
