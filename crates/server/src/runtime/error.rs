//! Why the vault does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::tls::TlsError;
use crate::wiring::WiringError;

/// Why the vault does not start. Every one of these is for the operator: it names the file or the key.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or a file it names.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its services do not fit together.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The listener's certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The policy file.
    #[error("{0}")]
    Policy(String),
    /// The audit log cannot be opened.
    #[error("audit.file: {}: cannot be opened: {problem}", .file.display())]
    Audit {
        /// The file.
        file: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// An address cannot be listened on.
    #[error("{listener}: cannot listen on {address}: {problem}")]
    Listen {
        /// The section of the configuration.
        listener: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        problem: std::io::Error,
    },
}
