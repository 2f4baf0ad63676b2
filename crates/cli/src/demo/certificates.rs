//! Throw-away certificates: an authority, the vault's own certificate and one for each module. The authority's private
//! key never leaves memory.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use tokenvault_core::time::Timestamp;
use zeroize::Zeroizing;

/// Clocks differ a little.
const BACKDATED: Duration = Duration::from_hours(1);
/// Longer than `tokenvault dev` runs.
const LIFE: Duration = Duration::from_hours(30 * 24);

/// A certificate and its private key, PEM.
pub(super) struct Certificate {
    pub(super) cert: String,
    pub(super) key: Zeroizing<String>,
}

impl Certificate {
    /// Both in one text, as HTTP clients want them.
    pub(super) fn identity(&self) -> Zeroizing<Vec<u8>> {
        Zeroizing::new([self.cert.as_bytes(), self.key.as_bytes()].concat())
    }
}

/// Signs the certificates.
pub(super) struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    now: Timestamp,
    issued: u64,
}

impl CertificateAuthority {
    pub(super) fn new(now: Timestamp) -> Result<Self, rcgen::Error> {
        let mut params = valid(now);
        params.distinguished_name.push(DnType::CommonName, "tokenvault throw-away CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?, now, issued: 0 })
    }

    /// Its own certificate, PEM.
    pub(super) fn cert(&self) -> String {
        self.issuer.pem()
    }

    /// For a server on this machine.
    pub(super) fn server(&mut self) -> Result<Certificate, rcgen::Error> {
        let names = vec![
            SanType::DnsName("localhost".try_into()?),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ];
        self.issue(names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// For a module, named by a URI as SPIFFE does.
    pub(super) fn module(&mut self, uri: &str) -> Result<Certificate, rcgen::Error> {
        self.issue(vec![SanType::URI(uri.try_into()?)], ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn issue(&mut self, names: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> Result<Certificate, rcgen::Error> {
        self.issued += 1;
        let mut params = valid(self.now);
        params.subject_alt_names = names;
        params.serial_number = Some(SerialNumber::from(self.issued));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { cert, key: Zeroizing::new(key.serialize_pem()) })
    }
}

fn valid(now: Timestamp) -> CertificateParams {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(now.as_millis());
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = ((now - BACKDATED).into(), (now + LIFE).into());
    params.distinguished_name = DistinguishedName::new();
    params
}
