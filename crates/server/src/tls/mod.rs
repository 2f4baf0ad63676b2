//! Mutual TLS for modules: who may open a connection, how long it may do nothing, and how it ends.
//!
//! A handler is reached only over a connection whose client certificate was verified, and finds that certificate as a
//! [`Peer`]. What a module may do is decided elsewhere. Private keys, and what is inside of a broken file, are never told.

mod accept;
mod activity;
mod connection;
mod reload;
mod settings;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

pub use accept::{Limits, serve};
pub use reload::{FileWatch, Refreshed, TlsState};
pub use settings::{TlsError, TlsSettings, not_after};

/// The client certificate of a connection, verified; an extension of each of its requests. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Peer(Arc<CertificateDer<'static>>);

impl Peer {
    /// What a connection whose certificate was verified is known by.
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        Self(Arc::new(certificate))
    }

    /// The end entity's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.0
    }
}
