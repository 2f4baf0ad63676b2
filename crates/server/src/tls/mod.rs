//! TLS: who may open a connection, how long it may do nothing, and how it ends.
//!
//! Where a listener has authorities for its clients, a handler is reached only over a connection whose client certificate
//! was verified, and finds that certificate as a [`Peer`](crate::tls::Peer); where it has none, no certificate is asked
//! for and there is no such peer. What a caller may do is decided elsewhere. Private keys, and what is inside of a
//! broken file, are never told.

mod accept;
mod activity;
mod blank;
mod connection;
mod doorkeeper;
mod faults;
mod files;
mod handshakes;
mod heads;
mod losses;
mod material;
mod names;
mod patience;
mod peer;
mod reload;
mod settings;
mod shares;
#[cfg(test)]
mod tests;
mod verifier;

pub use accept::{Limits, WRITE_TIMEOUT, serve};
pub use faults::CertificateFault;
pub use files::{ClientFiles, FilePart, Files};
pub(crate) use handshakes::{Handshake, Handshakes};
pub use heads::{Heads, Sifted};
pub use names::{CertificateNames, NameError};
pub(crate) use patience::Patient;
pub use peer::Peer;
pub use reload::TlsState;
pub use settings::{TlsError, TlsSettings, next_update, not_after};
pub use shares::{Holders, Nobody};
