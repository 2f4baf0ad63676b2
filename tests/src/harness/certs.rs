//! Throw-away certificates: an authority, servers and clients good and bad, and revocation lists, as PEM files.
//!
//! Private keys are written with mode 0600 and are gone with the authority's directory.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType,
    SerialNumber,
};
use tempfile::TempDir;

use super::Result;
use super::process::temporary_dir;

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// When a certificate or a revocation list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// Since an hour ago, for a day.
    Now,
    /// It ended an hour ago.
    Expired,
    /// It begins in an hour.
    NotYet,
    /// Since an hour ago, and for so much longer from now.
    For(Duration),
}

impl Validity {
    fn bounds(self) -> (SystemTime, SystemTime) {
        let now = SystemTime::now();
        match self {
            Self::Now => (now - HOUR, now + DAY),
            Self::Expired => (now - DAY, now - HOUR),
            Self::NotYet => (now + HOUR, now + DAY),
            Self::For(rest) => (now - HOUR, now + rest),
        }
    }
}

/// What a certificate says about its holder. Start from one of the constructors and add to it.
#[derive(Debug, Clone)]
pub struct Subject {
    common_name: Option<String>,
    sans: Vec<San>,
    validity: Validity,
    usage: ExtendedKeyUsagePurpose,
}

#[derive(Debug, Clone)]
enum San {
    Uri(String),
    Dns(String),
    Ip(IpAddr),
}

impl Subject {
    /// A server on loopback: 127.0.0.1 and localhost.
    pub fn server() -> Self {
        let sans = vec![San::Dns("localhost".to_owned()), San::Ip(Ipv4Addr::LOCALHOST.into())];
        Self { common_name: None, sans, validity: Validity::Now, usage: ExtendedKeyUsagePurpose::ServerAuth }
    }

    /// A client without a name.
    pub fn client() -> Self {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        Self { common_name: None, sans: Vec::new(), validity: Validity::Now, usage }
    }

    /// Adds a URI to the subject's alternative names.
    #[must_use]
    pub fn uri(mut self, uri: &str) -> Self {
        self.sans.push(San::Uri(uri.to_owned()));
        self
    }

    /// Adds a DNS name to the subject's alternative names.
    #[must_use]
    pub fn dns(mut self, name: &str) -> Self {
        self.sans.push(San::Dns(name.to_owned()));
        self
    }

    /// Sets the common name.
    #[must_use]
    pub fn common_name(mut self, name: &str) -> Self {
        self.common_name = Some(name.to_owned());
        self
    }

    /// Sets when it holds.
    #[must_use]
    pub fn validity(mut self, validity: Validity) -> Self {
        self.validity = validity;
        self
    }

    fn params(&self, serial: SerialNumber) -> Result<CertificateParams> {
        let mut params = CertificateParams::default();
        let (from, until) = self.validity.bounds();
        (params.not_before, params.not_after) = (from.into(), until.into());
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = &self.common_name {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        for san in &self.sans {
            params.subject_alt_names.push(match san {
                San::Uri(uri) => SanType::URI(uri.as_str().try_into()?),
                San::Dns(name) => SanType::DnsName(name.as_str().try_into()?),
                San::Ip(address) => SanType::IpAddress(*address),
            });
        }
        params.serial_number = Some(serial);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![self.usage.clone()];
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }
}

/// A certificate with its key, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM (PKCS #8), mode 0600.
    pub key: PathBuf,
    serial: SerialNumber,
}

impl Certificate {
    /// Certificate and key in one text, as HTTP clients want them.
    pub fn identity_pem(&self) -> Result<Vec<u8>> {
        Ok([fs::read(&self.cert)?, fs::read(&self.key)?].concat())
    }

    /// For a reqwest client.
    pub fn identity(&self) -> Result<reqwest::Identity> {
        Ok(reqwest::Identity::from_pem(&self.identity_pem()?)?)
    }

    /// Replaces this certificate's files by `newer`'s, whole, as a certificate manager does.
    pub fn replace_by(&self, newer: &Self) -> Result<()> {
        for (from, to) in [(&newer.key, &self.key), (&newer.cert, &self.cert)] {
            let staged = to.with_extension("new");
            fs::copy(from, &staged)?;
            fs::rename(&staged, to)?;
        }
        Ok(())
    }
}

/// A certificate authority with a directory of its own.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: TempDir,
    next_serial: AtomicU64,
}

impl TestCa {
    /// A fresh authority; every one has its own key.
    pub fn new() -> Result<Self> {
        Self::valid(Validity::Now)
    }

    /// The same that holds at another time.
    pub fn valid(validity: Validity) -> Result<Self> {
        let mut params = CertificateParams::default();
        let (from, until) = validity.bounds();
        (params.not_before, params.not_after) = (from.into(), until.into());
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, format!("Test CA {}", uuid::Uuid::new_v4().simple()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let dir = temporary_dir("certs")?;
        fs::write(dir.path().join("ca.pem"), issuer.pem())?;
        Ok(Self { issuer, dir, next_serial: AtomicU64::new(1) })
    }

    /// The authority's own certificate, PEM.
    pub fn cert_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// For a reqwest client: trust this authority.
    pub fn root(&self) -> Result<reqwest::Certificate> {
        Ok(reqwest::Certificate::from_pem(self.issuer.pem().as_bytes())?)
    }

    /// The directory of all its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Issues a certificate.
    pub fn issue(&self, subject: &Subject) -> Result<Certificate> {
        let number = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let serial = SerialNumber::from(number);
        let key_pair = KeyPair::generate()?;
        let certificate = subject.params(serial.clone())?.signed_by(&key_pair, &self.issuer)?;
        let cert = self.dir.path().join(format!("{number}.pem"));
        let key = self.dir.path().join(format!("{number}-key.pem"));
        fs::write(&cert, certificate.pem())?;
        fs::write(&key, key_pair.serialize_pem())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        Ok(Certificate { cert, key, serial })
    }

    /// Issues a certificate for a server on loopback.
    pub fn server(&self) -> Result<Certificate> {
        self.issue(&Subject::server())
    }

    /// Issues a client certificate with one URI, such as `spiffe://test/mod-di`.
    pub fn client_uri(&self, uri: &str) -> Result<Certificate> {
        self.issue(&Subject::client().uri(uri))
    }

    /// The revocation list's file, there after the first [`Self::publish_crl`].
    pub fn crl_file(&self) -> PathBuf {
        self.dir.path().join("crl.pem")
    }

    /// Writes a revocation list of exactly these certificates, whole, over the last one.
    pub fn publish_crl(&self, revoked: &[&Certificate], validity: Validity) -> Result<PathBuf> {
        let (from, until) = validity.bounds();
        let revoked_certs = revoked.iter().map(|certificate| RevokedCertParams {
            serial_number: certificate.serial.clone(),
            revocation_time: from.into(),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: from.into(),
            next_update: until.into(),
            crl_number: SerialNumber::from(self.next_serial.fetch_add(1, Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let staged = self.dir.path().join("crl.new");
        fs::write(&staged, params.signed_by(&self.issuer)?.pem()?)?;
        fs::rename(&staged, self.crl_file())?;
        Ok(self.crl_file())
    }
}
