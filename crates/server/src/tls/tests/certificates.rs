//! Certificates as a test wants them: good, expired, of a wrong authority, revoked.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::ServerSection;

const HOUR: Duration = Duration::from_hours(1);

/// From when to when something is valid.
#[derive(Clone, Copy)]
pub(super) struct Validity(SystemTime, SystemTime);

#[expect(clippy::disallowed_methods, reason = "TLS goes by the system's clock")]
fn now() -> SystemTime {
    SystemTime::now()
}

pub(super) fn valid() -> Validity {
    Validity(now() - HOUR, now() + HOUR)
}

pub(super) fn expired() -> Validity {
    Validity(now() - 2 * HOUR, now() - HOUR)
}

/// The same, and begins earlier.
pub(super) fn valid_since_longer() -> Validity {
    Validity(now() - 2 * HOUR, now() + HOUR)
}

/// Expires after so many seconds; certificates know no smaller unit.
pub(super) fn ends_in(seconds: u64) -> Validity {
    Validity(now() - HOUR, now() + Duration::from_secs(seconds))
}

/// A certificate with its key.
pub(super) struct Identity {
    pub(super) cert: String,
    pub(super) key: String,
    pub(super) serial: u64,
}

impl Identity {
    pub(super) fn leaf(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// Signs certificates and revocation lists.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    pub(super) fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub(super) fn server(&self) -> Identity {
        self.server_for(valid())
    }

    pub(super) fn server_for(&self, validity: Validity) -> Identity {
        let name = SanType::DnsName("localhost".try_into().unwrap());
        self.issue(1, name, ExtendedKeyUsagePurpose::ServerAuth, validity)
    }

    pub(super) fn module(&self, serial: u64, validity: Validity) -> Identity {
        let name = SanType::URI(format!("spiffe://test/module-{serial}").try_into().unwrap());
        self.issue(serial, name, ExtendedKeyUsagePurpose::ClientAuth, validity)
    }

    fn issue(&self, serial: u64, name: SanType, usage: ExtendedKeyUsagePurpose, validity: Validity) -> Identity {
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (validity.0.into(), validity.1.into());
        params.serial_number = Some(SerialNumber::from(serial));
        params.subject_alt_names = vec![name];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem(), serial }
    }

    pub(super) fn crl(&self, revoked: &[&Identity], validity: Validity) -> String {
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: SerialNumber::from(identity.serial),
            revocation_time: validity.0.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: validity.0.into(),
            next_update: validity.1.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// The listener's files in a directory, and the authority behind them.
pub(super) struct Files {
    pub(super) authority: Authority,
    dir: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let files = Self { authority: Authority::new("modules"), dir: tempfile::tempdir().unwrap() };
        let server = files.authority.server();
        files.write("server.pem", &server.cert);
        files.write("server.key", &server.key);
        files.write("ca.pem", &files.authority.pem());
        files
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        Path::join(self.dir.path(), name)
    }

    pub(super) fn write(&self, name: &str, content: &str) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(super) fn config(&self) -> ServerSection {
        ServerSection {
            cert_file: self.path("server.pem"),
            key_file: self.path("server.key"),
            client_ca_file: self.path("ca.pem"),
            ..ServerSection::default()
        }
    }

    pub(super) fn config_with_crl(&self, crl: &str) -> ServerSection {
        self.write("crl.pem", crl);
        ServerSection { client_crl_file: Some(self.path("crl.pem")), ..self.config() }
    }
}
