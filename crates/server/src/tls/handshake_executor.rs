//! Where handshakes are computed: on a thread of their own, with less priority than the threads that serve requests. So
//! the work for unknown clients never delays the work for known callers.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_rustls::StartHandshake;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::WriteTimeout;
use super::zeroized::ZeroizedReads;

/// About a third of the share of a thread that serves requests, where there is not enough for both.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// Computes handshakes.
pub(super) struct HandshakeExecutor(Option<Runtime>);

impl HandshakeExecutor {
    /// Starts its thread. Without one, which a system short of threads may refuse, handshakes are computed where requests are.
    pub(super) fn start() -> Self {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).thread_name("handshakes").on_thread_start(give_way).build();
        Self(runtime.map_err(|error| tracing::warn!(%error, "handshakes have no thread of their own")).ok())
    }

    /// Completes the handshake of a client that has greeted. Dropped, it is given up.
    pub(super) async fn complete(
        &self,
        config: Arc<ServerConfig>,
        greeting: StartHandshake<ZeroizedReads<WriteTimeout<TcpStream>>>,
    ) -> io::Result<TlsStream<ZeroizedReads<WriteTimeout<TcpStream>>>> {
        let handshake = greeting.into_stream(config);
        let handle = self.0.as_ref().map_or_else(Handle::current, |runtime| runtime.handle().clone());
        AbortOnDropHandle::new(handle.spawn(handshake)).await.map_err(io::Error::other)?
    }
}

impl Drop for HandshakeExecutor {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            // Waiting for it would block the thread that drops it.
            runtime.shutdown_background();
        }
    }
}

/// For this thread alone, on Linux; elsewhere it would be for the whole process.
#[cfg(target_os = "linux")]
fn give_way() {
    // Where that is refused, handshakes have as much as everybody else.
    let usual = rustix::process::getpriority_process(None).unwrap_or_default();
    let _ = rustix::process::setpriority_process(None, usual + NICENESS);
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}
