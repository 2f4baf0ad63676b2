//! From the files of the configuration to rustls's settings.
//!
//! Where clients have authorities, their certificates are required, not just asked for. Nothing is resumed: rustls would resume a session without looking at the
//! client's certificate again, and a revoked module would stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use tokenvault_core::time::Timestamp;
use x509_parser::prelude::{ASN1Time, CertificateRevocationList, FromDer, X509Certificate};

use super::error::TlsError;
use super::faults::CertificateFault;
use super::files::{ClientFiles, FilePart, ListenerFiles};
use super::losses;
use super::material::Material;
use super::verifier::{ClientTrust, Unusable};
use crate::notices::RightsLoss;

/// What the listener's files say at one time.
pub struct TlsSettings {
    server: Arc<ServerConfig>,
    /// `None` where no client is asked for a certificate.
    clients: Option<Arc<ClientTrust>>,
    own_until: Option<Timestamp>,
    expiries: Vec<(&'static str, Timestamp)>,
    material: Material,
}

/// What the files make of the settings in force.
pub(super) struct Successor {
    /// Nothing where they make no others.
    pub(super) settings: Option<TlsSettings>,
    /// What is not taken up, and stays as it was.
    pub(super) refused: BTreeMap<FilePart, String>,
    pub(super) losses: Vec<(FilePart, RightsLoss)>,
}

impl TlsSettings {
    /// Reads the files. Certificates that have expired are no error here: TLS refuses them, and a metric tells.
    pub fn load(files: &ListenerFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        Self::of(files, Material::read(files, &provider)?, provider)
    }

    fn of(files: &ListenerFiles, material: Material, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let own_until = material.identity.cert.first().and_then(not_after);
        let mut expiries = vec![(files.usage, own_until)];
        let clients = match (&files.clients, &material.authorities) {
            (Some(clients), Some(authorities)) => {
                let (ca, crl) = match files.usage {
                    "admin" => ("admin_client_ca", "admin_client_crl"),
                    _ => ("client_ca", "client_crl"),
                };
                let lists = material.lists.as_deref();
                expiries.push((ca, authorities.iter().filter_map(not_after).min()));
                expiries.push((crl, lists.into_iter().flatten().filter_map(next_update).min()));
                Some(Arc::new(client_trust(clients, authorities.to_vec(), lists.cloned(), &provider)?))
            }
            _ => None,
        };
        let verifier = match &clients {
            Some(trust) => Arc::clone(trust) as Arc<dyn ClientCertVerifier>,
            None => WebPkiClientVerifier::no_client_auth(),
        };
        let config = server_config(files, &material, verifier, provider);
        let expiries = expiries.into_iter().filter_map(|(usage, at)| Some((usage, at?))).collect();
        Ok(Self { server: Arc::new(config), clients, own_until, expiries, material })
    }

    /// What is wrong with the files by now, though they can be read: what `check-config` refuses, and no reload takes up.
    pub fn faults(&self, files: &ListenerFiles) -> Vec<CertificateFault> {
        self.now().map(|now| self.material.faults(files, now.as_secs())).unwrap_or_default()
    }

    /// Reads the files again. Each part is taken up as far as it is right and fits the others, and brings no fault that is
    /// not in force already: half a renewal of the certificate must not hold up a revocation.
    pub(super) fn successor(&self, files: &ListenerFiles) -> Successor {
        // Authorities may fit no others than the lists that came with them.
        let made =
            self.taking(&[FilePart::Certificate, FilePart::Authorities, FilePart::Lists, FilePart::Authorities], files);
        let Some((half, problem)) = self.half(&made) else { return made };
        let parts: Vec<_> = [FilePart::Certificate, FilePart::Authorities, FilePart::Lists]
            .into_iter()
            .filter(|part| *part != half)
            .collect();
        let mut made = self.taking(&parts, files);
        made.refused.insert(half, problem);
        made
    }

    /// Authorities whose lists were refused with them, or the other way about: whoever is of an authority that has no list would be
    /// refused, whatever was in force. Says which part is not to be taken up either.
    fn half(&self, made: &Successor) -> Option<(FilePart, String)> {
        let after = &made.settings.as_ref()?.material;
        let (half, other) = match (made.refused.get(&FilePart::Authorities), made.refused.get(&FilePart::Lists)) {
            (Some(problem), None) => (FilePart::Lists, problem),
            (None, Some(problem)) => (FilePart::Authorities, problem),
            _ => return None,
        };
        let uncovered = losses::without_list(after).difference(&losses::without_list(&self.material)).next()?.clone();
        Some((half, format!("does not fit what stays in force: there is no list of {uncovered}, because {other}")))
    }

    /// The same, of these parts alone.
    fn taking(&self, parts: &[FilePart], files: &ListenerFiles) -> Successor {
        let mut made = Successor { settings: None, refused: BTreeMap::new(), losses: Vec::new() };
        let mut material = self.material.clone();
        for part in parts.iter().copied() {
            match self.with(&material, part, files) {
                Ok(next) => {
                    made.refused.remove(&part);
                    material = next.material.clone();
                    made.settings = Some(next);
                }
                Err(problem) => drop(made.refused.insert(part, problem)),
            }
        }
        if material.same(&self.material) && !made.refused.is_empty() {
            made.settings = None;
        }
        made.losses = losses::between(&self.material, &material);
        made
    }

    fn with(&self, material: &Material, part: FilePart, files: &ListenerFiles) -> Result<Self, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let material = material.with(part, files, &provider).map_err(|error| error.to_string())?;
        let next = Self::of(files, material, provider).map_err(|error| error.to_string())?;
        let known = self.faults(files);
        let is_new = |fault: &CertificateFault| fault.part == part && !known.iter().any(|known| known.der == fault.der);
        let brought: Vec<_> = next.faults(files).into_iter().filter(is_new).map(|fault| fault.problem).collect();
        if !brought.is_empty() {
            return Err(brought.join("; "));
        }
        let older = losses::older_list(&self.material, &next.material).filter(|_| part == FilePart::Lists);
        match (older, files.crl_file()) {
            (Some(problem), Some(file)) => Err(format!("{}: {problem}", file.display())),
            _ => Ok(next),
        }
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
    files: &ListenerFiles,
    material: &Material,
    verifier: Arc<dyn ClientCertVerifier>,
    provider: Arc<CryptoProvider>,
) -> ServerConfig {
    let versions: &[&SupportedProtocolVersion] = if files.tls12 { &[&TLS13, &TLS12] } else { &[&TLS13] };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("the provider has cipher suites and key exchanges for both versions")
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&material.identity))));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
