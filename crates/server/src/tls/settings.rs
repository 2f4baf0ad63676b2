//! From the files of the configuration to rustls's settings.
//!
//! Where clients have authorities, their certificates are required, not just asked for. Nothing is resumed: rustls would resume a session without looking at the
//! client's certificate again, and a revoked module would stay.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokenvault_core::time::Timestamp;
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::files::{ClientFiles, Files};

/// Why the listener's files cannot be used. Names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{}: cannot be read: {problem}", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// It was read, and does not contain what it should.
    #[error("{}: {problem}", .file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong, as a sentence without its subject.
        problem: String,
    },
}

impl TlsError {
    fn content(file: &Path, problem: impl Into<String>) -> Self {
        Self::Content { file: file.to_owned(), problem: problem.into() }
    }
}

/// What the listener's files say at one time.
pub struct TlsSettings {
    server: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    expiries: Vec<(&'static str, Timestamp)>,
}

impl TlsSettings {
    /// Reads the files. Certificates that have expired are no error here: TLS refuses them, and a metric tells.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = pem(&files.cert_file, "certificate")?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut expiries = vec![(files.usage, chain.first().and_then(not_after))];
        let verifier = match &files.clients {
            Some(clients) => {
                let authorities: Vec<CertificateDer<'static>> = pem(&clients.ca_file, "certificate")?;
                let crls: Option<Vec<CertificateRevocationListDer<'static>>> =
                    clients.crl_file.as_deref().map(|file| pem(file, "certificate revocation list")).transpose()?;
                expiries.push(("client_ca", authorities.iter().filter_map(not_after).min()));
                expiries.push(("client_crl", crls.iter().flatten().filter_map(next_update).min()));
                verifier(clients, authorities, crls, &provider)?
            }
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let config = server_config(files, chain, Arc::clone(&verifier), provider)?;
        let expiries = expiries.into_iter().filter_map(|(usage, at)| Some((usage, at?))).collect();
        Ok(Self { server: Arc::new(config), verifier, expiries })
    }

    /// For rustls.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// When the first certificate of each use expires: the listener's own, `client_ca`, `client_crl`.
    pub fn expiries(&self) -> &[(&'static str, Timestamp)] {
        &self.expiries
    }

    /// Whether a client is known by its certificate here, and not let in without one.
    pub(super) fn wants_certificates(&self) -> bool {
        self.verifier.offer_client_auth()
    }

    /// Whether a client with this chain, end entity first, would be let in now.
    pub(super) fn admits(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        if !self.wants_certificates() {
            return Ok(());
        }
        let (leaf, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        let now = self.server.time_provider.current_time().ok_or(rustls::Error::FailedToGetCurrentTime)?;
        self.verifier.verify_client_cert(leaf, intermediates, now).map(|_| ())
    }
}

/// When a certificate expires; `None` if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    timestamp(certificate.validity().not_after)
}

fn next_update(crl: &CertificateRevocationListDer<'_>) -> Option<Timestamp> {
    let (_, crl) = CertificateRevocationList::from_der(crl).ok()?;
    timestamp(crl.next_update()?)
}

fn timestamp(time: ASN1Time) -> Option<Timestamp> {
    u64::try_from(time.timestamp()).ok().map(Timestamp::from_secs)
}

fn verifier(
    clients: &ClientFiles,
    authorities: Vec<CertificateDer<'static>>,
    crls: Option<Vec<CertificateRevocationListDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, authority) in authorities.into_iter().enumerate() {
        let unusable = |_| format!("its certificate number {} cannot be read", index + 1);
        roots.add(authority).map_err(unusable).map_err(|problem| TlsError::content(&clients.ca_file, problem))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some(crls) = crls {
        // Whoever is on no list of its CA's is refused, which is the builder's default.
        builder = builder.with_crls(crls).only_check_end_entity_revocation().enforce_revocation_expiration();
    }
    builder.build().map_err(|error| match (error, &clients.crl_file) {
        (VerifierBuilderError::InvalidCrl(error), Some(file)) => {
            TlsError::content(file, format!("has a certificate revocation list that cannot be used: {error:?}"))
        }
        (error, _) => TlsError::content(&clients.ca_file, error.to_string()),
    })
}

fn server_config(
    files: &Files,
    chain: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let key = private_key(&files.key_file)?;
    let versions: &[&SupportedProtocolVersion] = if files.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has cipher suites and key exchanges for both versions")
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable_pair(files, &error))?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn unusable_pair(files: &Files, error: &rustls::Error) -> TlsError {
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
    let mut keys = pem(file, "private key")?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) => Ok(key),
        _ => Err(TlsError::content(file, "contains more than one private key")),
    }
}

/// All sections of one kind, at least one.
fn pem<T: PemObject>(file: &Path, kind: &str) -> Result<Vec<T>, TlsError> {
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
