//! TLS: who may open a connection, how long it may do nothing, and how it ends.
//!
//! Where a listener has authorities for its clients, each client shows a certificate. A handler is reached only after that
//! certificate was verified, and finds it as a [`Peer`]. A listener without authorities asks for no
//! certificate and has no peers.
//!
//! What a caller may do is decided elsewhere. No message here may show a private key, or the content of a broken file.

mod accept;
mod activity;
mod caller_connections;
mod connection;
mod error;
mod faults;
mod files;
mod handshake_executor;
mod handshakes;
mod heads;
mod limits;
mod losses;
mod material;
mod names;
mod peer;
mod reload;
mod settings;
#[cfg(test)]
mod tests;
mod verifier;
mod write_timeout;
mod zeroized;

pub use accept::serve;
pub use caller_connections::{CallerLookup, NoCallers};
pub use connection::{HttpService, http_settings};
pub use error::TlsError;
pub use faults::CertificateFault;
pub use files::{ClientFiles, FilePart, ListenerFiles};
pub(crate) use handshakes::{Handshake, Handshakes};
pub use heads::{Heads, Sifted};
pub use limits::{ConnectionLimits, WRITE_TIMEOUT};
pub use names::{CertificateNames, NameError};
pub use peer::Peer;
pub use reload::TlsState;
pub use settings::{TlsSettings, next_update, not_after};
pub(crate) use write_timeout::WriteTimeout;
