//! What went wrong, by its cause.
//!
//! A message of Redis may quote a command, and so a key or a value: it never leaves this module.

use deadpool::managed::{PoolError, TimeoutType};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use tokenvault_core::ports::{StoreCause, StoreError};

/// Why Redis cannot be reached with a configuration. Each text ends with its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedisConfig {
    /// The URL is not one of Redis'.
    #[error("the URL is not one of Redis' (config_url)")]
    Url,
    /// The password stands in the URL.
    #[error("the password stands in the URL (config_password_in_url)")]
    PasswordInUrl,
    /// Authorities are given for a connection without TLS.
    #[error("a CA file is given for a connection without TLS (config_ca_file_without_tls)")]
    CaFileWithoutTls,
    /// The file with the authorities cannot be read, or holds none.
    #[error("the CA file cannot be read, or holds no certificate (config_ca_file)")]
    CaFile,
    /// A client certificate is given for a connection without TLS.
    #[error("a client certificate is given for a connection without TLS (config_certificate_without_tls)")]
    CertificateWithoutTls,
    /// The file with the client certificate, or the one with its key, cannot be read.
    #[error("the client certificate or its key cannot be read (config_certificate_file)")]
    CertificateFile,
    /// The file with the password cannot be read, or is empty.
    #[error("the password file cannot be read, or is empty (config_password_file)")]
    PasswordFile,
    /// There is no server to begin with, or no name of a primary.
    #[error("no server is named (config_nodes)")]
    Nodes,
    /// The pool's settings do not fit each other.
    #[error("the settings of the pool do not fit each other (config_pool)")]
    Pool,
}

/// Why a Redis could not be examined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InspectError {
    /// Its configuration cannot be used.
    #[error("its configuration is wrong: {0}")]
    Config(#[from] InvalidRedisConfig),
    /// It did not answer as it should.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The cause of an error.
fn cause(error: &RedisError) -> StoreCause {
    match error.kind() {
        ErrorKind::Io if error.is_timeout() => StoreCause::Timeout,
        ErrorKind::Io if error.is_connection_refusal() => StoreCause::Refused,
        ErrorKind::Io if error.is_connection_dropped() => StoreCause::ConnectionLost,
        ErrorKind::Io => StoreCause::Io,
        ErrorKind::AuthenticationFailed => StoreCause::Authentication,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => StoreCause::Protocol,
        ErrorKind::Server(ServerErrorKind::BusyLoading) => StoreCause::Loading,
        ErrorKind::Server(ServerErrorKind::ReadOnly) => StoreCause::ReadOnly,
        ErrorKind::Server(ServerErrorKind::MasterDown) => StoreCause::MasterDown,
        ErrorKind::Server(ServerErrorKind::NoPerm) => StoreCause::NoPermission,
        _ => match error.code() {
            Some("OOM") => StoreCause::OutOfMemory,
            Some("NOAUTH" | "WRONGPASS") => StoreCause::Authentication,
            Some("MISCONF") => StoreCause::CannotPersist,
            Some("NOREPLICAS") => StoreCause::TooFewReplicas,
            _ => StoreCause::Server,
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

/// What an error of Redis is for the caller; its cause is logged.
pub(crate) fn redis_error(error: &RedisError) -> StoreError {
    unavailable(cause(error))
}

/// What an error of the pool is for the caller; its cause is logged.
pub(crate) fn pool_error(error: &PoolError<RedisError>) -> StoreError {
    unavailable(match error {
        PoolError::Timeout(TimeoutType::Wait) => StoreCause::PoolExhausted,
        PoolError::Timeout(_) => StoreCause::ConnectTimeout,
        PoolError::Backend(error) => cause(error),
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => StoreCause::PoolClosed,
    })
}

/// The store is unavailable; the cause is logged.
pub(crate) fn unavailable(cause: StoreCause) -> StoreError {
    tracing::debug!(kind = cause.code(), "the store did not do it");
    StoreError::Unavailable(cause)
}
