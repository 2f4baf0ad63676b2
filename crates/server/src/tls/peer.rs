//! Who is at the other end of a connection, as the TLS layer verified it.

use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::names::{CertificateNames, NameError};

/// The verified client certificate of a connection; an extension of each of its requests. Its names are read once, when
/// the connection is made. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct Peer(Arc<Verified>);

#[derive(Debug)]
struct Verified {
    certificate: CertificateDer<'static>,
    names: Result<CertificateNames, NameError>,
}

impl Peer {
    /// What a connection whose certificate was verified is known by.
    pub fn new(certificate: CertificateDer<'static>) -> Self {
        let names = CertificateNames::read(&certificate);
        Self(Arc::new(Verified { certificate, names }))
    }

    /// The end entity's certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    /// What it says its holder is called.
    pub fn names(&self) -> Result<&CertificateNames, NameError> {
        self.0.names.as_ref().map_err(|error| *error)
    }
}
