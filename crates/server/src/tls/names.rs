//! The names in a client certificate that may identify a module.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Why a certificate names nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It cannot be read.
    #[error("the certificate cannot be read")]
    Malformed,
    /// SPIFFE allows exactly one URI SAN (SPIFFE X.509-SVID §2); several could be played against each other.
    #[error("the certificate has more than one URI name")]
    SeveralUris,
}

/// What a certificate says its holder is called.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CertificateNames {
    /// Its URI SAN.
    pub uri: Option<String>,
    /// Its DNS SANs.
    pub dns: Vec<String>,
    /// Its common name, only where there is no SAN extension at all and exactly one common name.
    pub cn: Option<String>,
}

impl CertificateNames {
    /// Reads the names of a certificate in DER.
    pub fn read(der: &[u8]) -> Result<Self, NameError> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| NameError::Malformed)?;
        if !rest.is_empty() {
            return Err(NameError::Malformed);
        }
        let Some(san) = certificate.subject_alternative_name().map_err(|_| NameError::Malformed)? else {
            return Ok(Self { cn: common_name(&certificate), ..Self::default() });
        };
        let mut names = Self::default();
        for name in &san.value.general_names {
            match name {
                GeneralName::URI(_) if names.uri.is_some() => return Err(NameError::SeveralUris),
                GeneralName::URI(uri) => names.uri = Some((*uri).to_owned()),
                GeneralName::DNSName(dns) => names.dns.push((*dns).to_owned()),
                // A name that cannot be read might have been a second URI.
                GeneralName::Invalid(..) => return Err(NameError::Malformed),
                _ => {}
            }
        }
        Ok(names)
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let first = names.next()?.as_str().ok()?;
    names.next().is_none().then(|| first.to_owned())
}
