//! What a listener's files hold, one part at a time: its own certificate with the key, its clients' authorities, their
//! revocation lists.

use std::path::Path;
use std::sync::Arc;

use rustls::InconsistentKeys;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::error::TlsError;
use super::faults::{self, CertificateFault};
use super::files::{FilePart, ListenerFiles};

/// The parts as they were read at one time.
#[derive(Clone)]
pub(super) struct Material {
    pub(super) identity: Arc<CertifiedKey>,
    /// `None` where no client is asked for a certificate.
    pub(super) authorities: Option<Arc<Vec<CertificateDer<'static>>>>,
    /// `None` where no list is configured.
    pub(super) lists: Option<Arc<Vec<CertificateRevocationListDer<'static>>>>,
}

impl Material {
    pub(super) fn read(files: &ListenerFiles, provider: &CryptoProvider) -> Result<Self, TlsError> {
        Ok(Self {
            identity: identity(files, provider)?,
            authorities: files.clients.as_ref().map(|clients| pem(&clients.ca_file, "certificate")).transpose()?,
            lists: files.crl_file().map(lists).transpose()?,
        })
    }

    /// The same with one part read anew.
    pub(super) fn with(
        &self,
        part: FilePart,
        files: &ListenerFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let mut next = self.clone();
        match part {
            FilePart::Certificate => next.identity = identity(files, provider)?,
            FilePart::Authorities => {
                next.authorities =
                    files.clients.as_ref().map(|clients| pem(&clients.ca_file, "certificate")).transpose()?;
            }
            FilePart::Lists => next.lists = files.crl_file().map(lists).transpose()?,
        }
        Ok(next)
    }

    /// Whether it says the same. A key is its certificate's.
    pub(super) fn same(&self, other: &Self) -> bool {
        (&self.identity.cert, &self.authorities, &self.lists)
            == (&other.identity.cert, &other.authorities, &other.lists)
    }

    /// What is wrong with the parts at this time, though they can be read: seconds since the epoch.
    pub(super) fn faults(&self, files: &ListenerFiles, now: u64) -> Vec<CertificateFault> {
        let mut found = faults::of_chain(&files.cert_file, &self.identity.cert, now);
        if let (Some(clients), Some(authorities)) = (&files.clients, &self.authorities) {
            found.extend(faults::of_authorities(&clients.ca_file, authorities, now));
        }
        if let (Some(file), Some(lists)) = (files.crl_file(), &self.lists) {
            found.extend(faults::of_lists(file, lists, now));
        }
        found
    }
}

fn lists(file: &Path) -> Result<Arc<Vec<CertificateRevocationListDer<'static>>>, TlsError> {
    pem(file, "certificate revocation list")
}

fn identity(files: &ListenerFiles, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Arc<Vec<CertificateDer<'static>>> = pem(&files.cert_file, "certificate")?;
    let key = private_key(&files.key_file)?;
    let made = CertifiedKey::from_der(Arc::unwrap_or_clone(chain), key, provider);
    made.map(Arc::new).map_err(|error| unusable_pair(files, &error))
}

fn unusable_pair(files: &ListenerFiles, error: &rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::content(
            &files.key_file,
            format!("is not the key of the first certificate in {}", files.cert_file.display()),
        ),
        rustls::Error::InvalidCertificate(_) => {
            TlsError::content(&files.cert_file, "its first certificate cannot be read")
        }
        _ => TlsError::content(&files.key_file, "its private key cannot be used: it must be RSA, ECDSA or Ed25519"),
    }
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let mut keys = sections(file, "private key")?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(TlsError::content(file, "contains more than one private key")),
    }
}

fn pem<T: PemObject>(file: &Path, kind: &str) -> Result<Arc<Vec<T>>, TlsError> {
    sections(file, kind).map(Arc::new)
}

/// All sections of one kind, at least one.
fn sections<T: PemObject>(file: &Path, kind: &str) -> Result<Vec<T>, TlsError> {
    let read = std::fs::read(file).map_err(|problem| TlsError::Read { file: file.to_owned(), problem });
    let text = Zeroizing::new(read?);
    // The parser's errors quote lines, which may be those of a private key.
    let sections = T::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let sections = sections.map_err(|_| TlsError::content(file, "is not valid PEM"))?;
    if sections.is_empty() {
        return Err(TlsError::content(file, format!("contains no {kind} in PEM")));
    }
    Ok(sections)
}
