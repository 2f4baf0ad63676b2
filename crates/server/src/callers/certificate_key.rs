//! The one name of a certificate that a policy knows its holder by.

use std::fmt;

use url::Url;

use crate::tls::CertificateNames;

/// A name by which a certificate is recognised; the kinds of name never stand in for each other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CertificateKey {
    /// Its only URI SAN.
    Uri(String),
    /// One of its DNS SANs, in lower case.
    Dns(String),
    /// Its common name, where it has no SAN.
    Cn(String),
}

impl CertificateKey {
    /// The one name that a policy's entry gives; otherwise the key that is wrong and what to say of it.
    pub fn only(
        uri: Option<String>,
        dns: Option<String>,
        cn: Option<String>,
    ) -> Result<Self, (&'static str, &'static str)> {
        match (uri, dns, cn) {
            (Some(uri), None, None) if uri.contains('*') => Err(("uri_san", "takes no wildcard")),
            (Some(uri), None, None) if Url::parse(&uri).is_err() => Err(("uri_san", "must be a URI")),
            (Some(uri), None, None) => Ok(Self::Uri(uri)),
            (None, Some(dns), None) if dns.contains('*') => Err(("dns_san", "takes no wildcard")),
            (None, Some(dns), None) if dns.is_empty() => Err(("dns_san", "must not be empty")),
            (None, Some(dns), None) => Ok(Self::Dns(dns.to_ascii_lowercase())),
            (None, None, Some(cn)) if cn.is_empty() => Err(("cn", "must not be empty")),
            (None, None, Some(cn)) => Ok(Self::Cn(cn)),
            _ => Err(("name", "give exactly one of uri_san, dns_san and cn")),
        }
    }

    /// All names of a certificate that a policy might know.
    pub fn all(names: &CertificateNames) -> impl Iterator<Item = Self> {
        let keys = names.uri.iter().map(|uri| Self::Uri(uri.clone()));
        let keys = keys.chain(names.dns.iter().map(|dns| Self::Dns(dns.to_ascii_lowercase())));
        keys.chain(names.cn.iter().map(|cn| Self::Cn(cn.clone())))
    }
}

impl fmt::Display for CertificateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Uri(name) | Self::Dns(name) | Self::Cn(name)) = self;
        write!(f, "{}", name.escape_debug())
    }
}
