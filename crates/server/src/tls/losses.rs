//! What other certificates and lists take away, and from whom.

use std::collections::BTreeSet;

use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::faults::parsed;
use super::files::Part;
use super::material::Material;
use crate::reload::Loss;

/// What the change from one to the other takes away.
pub(super) fn between(before: &Material, after: &Material) -> Vec<(Part, Loss)> {
    let names = names(before)
        .difference(&names(after))
        .map(|name| {
            let loss = Loss::new(format!("callers of {name}"), "the listener's certificate does not name it any more");
            (Part::Certificate, loss)
        })
        .collect::<Vec<_>>();
    let authorities = authorities(before)
        .difference(&authorities(after))
        .map(|name| (Part::Authorities, Loss::new(format!("whoever is of the authority {name}"), "everything")))
        .collect::<Vec<_>>();
    let revoked = revoked(after)
        .difference(&revoked(before))
        .map(|certificate| {
            (Part::Lists, Loss::new(format!("the holder of the certificate {certificate}"), "everything"))
        })
        .collect::<Vec<_>>();
    [names, authorities, revoked].concat()
}

fn names(material: &Material) -> BTreeSet<String> {
    let Some(leaf) = material.identity.cert.first().and_then(parsed) else { return BTreeSet::new() };
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return BTreeSet::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(plain(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::IpAddr::from(bytes).to_string()),
        },
        _ => None,
    });
    names.collect()
}

/// By their names: one that is re-issued stays whom it was.
fn authorities(material: &Material) -> BTreeSet<String> {
    let all = material.authorities.iter().flat_map(|all| all.iter());
    all.filter_map(|der| Some(plain(&parsed(der)?.subject().to_string()))).collect()
}

fn revoked(material: &Material) -> BTreeSet<String> {
    let serials = |der: &CertificateRevocationListDer<'_>| {
        let Ok((_, list)) = CertificateRevocationList::from_der(der) else { return Vec::new() };
        let issuer = plain(&list.issuer().to_string());
        list.iter_revoked_certificates().map(|one| format!("{} of {issuer}", one.raw_serial_as_string())).collect()
    };
    material.lists.iter().flat_map(|lists| lists.iter()).flat_map(serials).collect()
}

/// What stands in a certificate is shown on a terminal.
fn plain(text: &str) -> String {
    text.escape_debug().collect()
}
