//! What went wrong, as a short stable kind.
//!
//! A message of Redis may quote a command, and so a key or a value: it never leaves this module.

use deadpool::managed::{PoolError, TimeoutType};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokenvault_core::ports::StoreError;

/// The kind of an error.
pub(crate) fn kind(error: &RedisError) -> &'static str {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => "timeout",
        ErrorKind::Io if error.is_connection_refusal() => "refused",
        ErrorKind::Io if error.is_connection_dropped() => "connection_lost",
        ErrorKind::Io => "io",
        ErrorKind::AuthenticationFailed => "authentication",
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "protocol",
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "loading",
        ErrorKind::Server(ServerErrorKind::ReadOnly) => "read_only",
        ErrorKind::Server(ServerErrorKind::MasterDown) => "master_down",
        ErrorKind::Server(ServerErrorKind::NoPerm) => "no_permission",
        _ => match error.code() {
            Some("OOM") => "out_of_memory",
            Some("NOAUTH" | "WRONGPASS") => "authentication",
            Some("MISCONF") => "cannot_persist",
            Some("NOREPLICAS") => "too_few_replicas",
            _ => "server",
        },
    }
}

/// Whether the connection must not be used again: it is gone, its answers are late, or its server may no longer write.
pub(crate) fn spoils_connection(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Io
            | ErrorKind::Parse
            | ErrorKind::AuthenticationFailed
            | ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    )
}

/// Whether the connection was closed under the command, as it is for every idle one when the server restarts. A refusal
/// is not: that is the answer to a new connection.
pub(crate) fn was_closed(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal() && !error.is_timeout()
}

/// For the caller; the kind is logged.
pub(crate) fn unavailable(error: &RedisError) -> StoreError {
    report(kind(error))
}

/// For the caller; the kind is logged.
pub(crate) fn no_connection(error: &PoolError<RedisError>) -> StoreError {
    report(match error {
        PoolError::Timeout(TimeoutType::Wait) => "pool_exhausted",
        PoolError::Timeout(_) => "connect_timeout",
        PoolError::Backend(error) => kind(error),
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => "pool",
    })
}

/// An error of a kind, which is logged.
pub(crate) fn report(kind: &'static str) -> StoreError {
    tracing::debug!(kind, "the store did not do it");
    StoreError::Unavailable(kind)
}
