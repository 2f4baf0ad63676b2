//! What is wrong with certificates and lists that can be read: the one judge of `check-config` and of every reload.
//!
//! A start goes on in spite of it, for it has nothing better; a reload has what was in force.

use std::collections::BTreeMap;
use std::path::Path;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use tokenvault_core::time::Timestamp;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::files::FilePart;

/// Something wrong with one certificate or list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFault {
    /// In which part of the listener's files.
    pub part: FilePart,
    /// A sentence that begins with the file.
    pub problem: String,
    /// What it is wrong with: where that is in force already, no reload brings it.
    pub(super) der: Vec<u8>,
}

/// Of the listener's own certificates. Those who call refuse them all.
pub(super) fn of_chain(file: &Path, chain: &[CertificateDer<'_>], now: u64) -> Vec<CertificateFault> {
    let mut faults = Vec::new();
    let mut add = |der: &CertificateDer<'_>, problem: String| {
        faults.push(CertificateFault {
            part: FilePart::Certificate,
            problem: format!("{}{problem}", file.display()),
            der: der.to_vec(),
        });
    };
    let read: Vec<_> = chain.iter().filter_map(|der| Some((der, parsed(der)?))).collect();
    for (der, certificate) in &read {
        let [from, until] = bounds(certificate);
        if until <= now {
            add(der, format!(" expired on {}", Timestamp::from_secs(until)));
        } else if from > now {
            add(der, format!(" is not valid before {}", Timestamp::from_secs(from)));
        }
    }
    if let [(der, leaf), others @ ..] = read.as_slice() {
        let named = |(_, other): &(&CertificateDer<'_>, X509Certificate<'_>)| other.subject() == leaf.issuer();
        if !others.is_empty() && !others.iter().any(named) {
            add(der, ": none of the certificates after the first is its issuer's".to_owned());
        }
        if leaf.extended_key_usage().is_ok_and(|usage| usage.is_some_and(|is| !is.value.server_auth && !is.value.any)) {
            add(der, ": its first certificate is not for servers: its extended key usage does not say so".to_owned());
        }
    }
    faults
}

/// Of the clients' authorities. One that begins later may stand beside one that is valid.
pub(super) fn of_authorities(file: &Path, authorities: &[CertificateDer<'_>], now: u64) -> Vec<CertificateFault> {
    let read: Vec<_> = authorities.iter().filter_map(|der| Some((der, bounds(&parsed(der)?)))).collect();
    let valid = read.iter().any(|(_, [from, until])| *from <= now && *until > now);
    let fault = |(der, [from, until]): &(&CertificateDer<'_>, [u64; 2])| {
        let problem = match () {
            () if *until <= now => format!("expired on {}", Timestamp::from_secs(*until)),
            () if *from > now && !valid => format!("is not valid before {}", Timestamp::from_secs(*from)),
            () => return None,
        };
        let problem = format!("{} {problem}", file.display());
        Some(CertificateFault { part: FilePart::Authorities, problem, der: der.to_vec() })
    };
    read.iter().filter_map(fault).collect()
}

/// Of revocation lists: where every list of an authority has expired, everybody of that authority is refused.
pub(super) fn of_lists(file: &Path, lists: &[CertificateRevocationListDer<'_>], now: u64) -> Vec<CertificateFault> {
    let mut newest: BTreeMap<Vec<u8>, (u64, Vec<u8>)> = BTreeMap::new();
    for der in lists {
        let Ok((_, list)) = CertificateRevocationList::from_der(der) else { continue };
        let until = list.next_update().map_or(u64::MAX, |end| u64::try_from(end.timestamp()).unwrap_or(0));
        let of_issuer = newest.entry(list.issuer().as_raw().to_vec()).or_insert_with(|| (until, der.to_vec()));
        if of_issuer.0 < until {
            *of_issuer = (until, der.to_vec());
        }
    }
    let expired = newest.into_values().filter(|(until, _)| *until <= now);
    expired
        .map(|(until, der)| {
            let (file, end) = (file.display(), Timestamp::from_secs(until));
            let problem = format!("{file} expired on {end}: everybody of its authority would be refused");
            CertificateFault { part: FilePart::Lists, problem, der }
        })
        .collect()
}

pub(super) fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// From when and until when, in seconds since the epoch.
fn bounds(certificate: &X509Certificate<'_>) -> [u64; 2] {
    let validity = certificate.validity();
    [&validity.not_before, &validity.not_after].map(|time| u64::try_from(time.timestamp()).unwrap_or(0))
}
