//! Work that a request begins: it may outlive its caller, and a panic in it takes nobody along.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use futures::FutureExt;
use tokenvault_vault::problem::{Code, Problem};

use super::{RequestPermits, answer};
use crate::telemetry::traces;

/// Runs to its end even if the caller hangs up, and holds the request's places until then.
pub async fn detached<T: Send + 'static>(
    permits: RequestPermits,
    work: impl Future<Output = Result<T, Problem>> + Send + 'static,
) -> Result<T, Problem> {
    let task = tokio::spawn(traces::along(async move {
        let done = work.await;
        drop(permits);
        done
    }));
    task.await.unwrap_or_else(|_| Err(Problem::new(Code::Internal, "Something went wrong inside the vault.")))
}

/// A panic becomes a 500; what it said goes to the log of the panic hook and not to the caller.
pub async fn catch_panic(request: Request, next: Next) -> Response {
    caught(next.run(request)).await
}

/// The same of work that is done already for whoever asked.
pub async fn caught(work: impl Future<Output = Response>) -> Response {
    match std::panic::AssertUnwindSafe(work).catch_unwind().await {
        Ok(response) => response,
        Err(_) => answer(Problem::new(Code::Internal, "Something went wrong inside the vault.")),
    }
}
