//! Accepts connections until told to stop, then waits for those there are.
//!
//! `axum::serve` would do, if it did not hide the time-outs and limits that keep a listener usable while others misuse it.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::caller_connections::CallerLookup;
use super::connection::{Connections, HttpService};
use super::handshakes::Handshakes;
use super::limits::ConnectionLimits;
use super::reload::TlsState;
use crate::telemetry::metrics::Metrics;
use crate::web::shutdown::Shutdown;

/// Between two attempts when the system has no more file descriptors or memory: others are being freed meanwhile.
const PAUSE: Duration = Duration::from_millis(200);
/// So many of them are a minute.
const PAUSES_A_MINUTE: u32 = 300;

/// Serves until the stop, then lets the requests in hand finish; whoever calls bounds that in time. Connections are counted
/// where there are metrics to count them in.
pub async fn serve<S: HttpService>(
    listener: TcpListener,
    state: Arc<TlsState>,
    requests: S,
    limits: ConnectionLimits,
    callers: Arc<dyn CallerLookup>,
    metrics: Option<Arc<Metrics>>,
    shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(limits.max_connections.min(Semaphore::MAX_PERMITS)));
    let handshakes = Handshakes::new(limits.max_handshakes);
    let connections = Arc::new(Connections::new(state, requests, limits, callers, metrics, shutdown.clone()));
    let open = TaskTracker::new();
    while let Some((stream, address)) = shutdown.stopping().run_until_cancelled(next(&listener, &slots)).await {
        let (connections, slots) = (Arc::clone(&connections), Arc::clone(&slots));
        let handshake = handshakes.begin(address.ip());
        open.spawn(async move { connections.serve(stream, address, handshake, slots).await });
    }
    drop(listener);
    open.close();
    open.wait().await;
}

/// The next connection, once there is room for one; who has only begun its handshake takes none of it.
async fn next(listener: &TcpListener, slots: &Semaphore) -> (TcpStream, SocketAddr) {
    drop(slots.acquire().await.expect("nobody closes the semaphore"));
    let mut failures = 0_u32;
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if of_one_connection(error.kind()) => {}
            Err(error) => {
                // Said at once, and then once a minute.
                if failures.is_multiple_of(PAUSES_A_MINUTE) {
                    tracing::error!(%error, "no connection can be accepted for now");
                }
                failures = failures.wrapping_add(1);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Errors of a connection that was gone before it was accepted; the next one may be there already.
fn of_one_connection(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}
