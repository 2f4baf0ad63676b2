//! The spans that traces are made of, where the vault's own work begins one.

use tracing::Span;

/// The target of all spans that are told to a collector; the log leaves them out.
pub const TARGET: &str = "tokenvault::trace";

/// A renewal, which begins a trace of its own.
pub fn renewal() -> Span {
    tracing::info_span!(target: TARGET, "renewal", otel.kind = "internal", otel.name = "renewal")
}
