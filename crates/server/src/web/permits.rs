//! What a request holds while it is under way: its permits among all requests, and a budget for a large body.

use std::sync::Arc;

use axum::http::Extensions;
use tokenvault_vault::problem::{Code, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a caller's large bodies may take at a time, in KiB: a body takes it from when it has outgrown its first room until it
/// was read. It is for sixty-four of the largest, which a caller that sends them whole is far from.
const BODIES: usize = 4 * 1024;

/// The permits that a request holds; given back with the last copy. Work that outlives its request takes a copy along:
/// without it a caller that hangs up would have more under way than it may.
#[derive(Debug, Clone, Default)]
pub struct RequestPermits {
    _held: Option<Arc<[Option<OwnedSemaphorePermit>; 2]>>,
}

impl RequestPermits {
    /// Holds these, two at most.
    pub fn new(permits: [Option<OwnedSemaphorePermit>; 2]) -> Self {
        Self { _held: Some(Arc::new(permits)) }
    }

    /// Those of a request that was let in.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }
}

/// How much memory a caller's large bodies may take.
#[derive(Debug, Clone)]
pub struct BodyBudget(Arc<Semaphore>);

impl BodyBudget {
    fn new(kib: usize) -> Self {
        Self(Arc::new(Semaphore::new(kib)))
    }

    /// That of the caller of a request that was let in.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// So many bytes, until they are given back.
    pub fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        let taken = Arc::clone(&self.0).try_acquire_many_owned(kib);
        taken.map_err(|_| Problem::new(Code::TooManyRequests, "The caller has too many large bodies under way."))
    }
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::new(BODIES)
    }
}
