//! From the files of the configuration to rustls's settings.
//!
//! Where clients have authorities, their certificates are required, not just asked for. Nothing is resumed: rustls would resume a session without looking at the
//! client's certificate again, and a revoked module would stay.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use tokenvault_core::time::Timestamp;
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::files::{ClientFiles, Files};
use super::verifier::{ClientTrust, Unusable};

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
    /// `None` where no client is asked for a certificate.
    clients: Option<Arc<ClientTrust>>,
    own_until: Option<Timestamp>,
    expiries: Vec<(&'static str, Timestamp)>,
}

impl TlsSettings {
    /// Reads the files. Certificates that have expired are no error here: TLS refuses them, and a metric tells.
    pub fn load(files: &Files) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = pem(&files.cert_file, "certificate")?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let own_until = chain.first().and_then(not_after);
        let mut expiries = vec![(files.usage, own_until)];
        let clients = match &files.clients {
            Some(clients) => {
                let authorities: Vec<CertificateDer<'static>> = pem(&clients.ca_file, "certificate")?;
                let crls: Option<Vec<CertificateRevocationListDer<'static>>> =
                    clients.crl_file.as_deref().map(|file| pem(file, "certificate revocation list")).transpose()?;
                let (ca, crl) = match files.usage {
                    "admin" => ("admin_client_ca", "admin_client_crl"),
                    _ => ("client_ca", "client_crl"),
                };
                expiries.push((ca, authorities.iter().filter_map(not_after).min()));
                expiries.push((crl, crls.iter().flatten().filter_map(next_update).min()));
                Some(Arc::new(client_trust(clients, authorities, crls, &provider)?))
            }
            None => None,
        };
        let verifier = match &clients {
            Some(trust) => Arc::clone(trust) as Arc<dyn ClientCertVerifier>,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let config = server_config(files, chain, verifier, provider)?;
        let expiries = expiries.into_iter().filter_map(|(usage, at)| Some((usage, at?))).collect();
        Ok(Self { server: Arc::new(config), clients, own_until, expiries })
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
        self.clients.is_some()
    }

    /// Whether a client with this chain, end entity first, would be let in now.
    pub(super) fn admits(&self, chain: &[CertificateDer<'_>]) -> Result<(), rustls::Error> {
        let Some(clients) = &self.clients else { return Ok(()) };
        let (leaf, intermediates) = chain.split_first().ok_or(rustls::Error::NoCertificatesPresented)?;
        clients.verify_client_cert(leaf, intermediates, self.now()?).map(|_| ())
    }

    /// How long at most what [`Self::admits`] says of this chain can stay true without a change of files: something of
    /// the chain, of the authorities or of the lists expires then.
    pub(super) fn admits_for(&self, chain: &[CertificateDer<'_>]) -> Option<Duration> {
        let (clients, now) = (self.clients.as_ref()?, self.now().ok()?.as_secs());
        let of_chain = chain.iter().filter_map(|one| Some(not_after(one)?.as_secs()));
        // What holds until a second holds to the end of that second.
        let turns = clients.turns().iter().copied().chain(of_chain).map(|turn| turn.saturating_add(1));
        turns.filter(|turn| *turn > now).min().map(|turn| Duration::from_secs(turn - now))
    }

    /// Why nobody can call here now, whatever certificate they have.
    pub fn deserted(&self) -> Option<&'static str> {
        let now = self.now().ok()?;
        if self.own_until.is_some_and(|until| now.as_secs() > until.as_secs()) {
            return Some("the listener's certificate has expired");
        }
        self.clients.as_ref()?.trusts_anybody(now).err()
    }

    fn now(&self) -> Result<UnixTime, rustls::Error> {
        self.server.time_provider.current_time().ok_or(rustls::Error::FailedToGetCurrentTime)
    }
}

/// When a certificate expires; `None` if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    timestamp(certificate.validity().not_after)
}

/// When a revocation list expires; `None` if it cannot be read or does not say.
pub fn next_update(crl: &CertificateRevocationListDer<'_>) -> Option<Timestamp> {
    let (_, crl) = CertificateRevocationList::from_der(crl).ok()?;
    timestamp(crl.next_update()?)
}

fn timestamp(time: ASN1Time) -> Option<Timestamp> {
    u64::try_from(time.timestamp()).ok().map(Timestamp::from_secs)
}

fn client_trust(
    clients: &ClientFiles,
    authorities: Vec<CertificateDer<'static>>,
    crls: Option<Vec<CertificateRevocationListDer<'static>>>,
    provider: &Arc<CryptoProvider>,
) -> Result<ClientTrust, TlsError> {
    ClientTrust::new(authorities, crls, provider).map_err(|unusable| match (unusable, &clients.crl_file) {
        (Unusable::Lists(problem), Some(file)) => TlsError::content(file, problem),
        (Unusable::Authorities(problem) | Unusable::Lists(problem), _) => TlsError::content(&clients.ca_file, problem),
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
