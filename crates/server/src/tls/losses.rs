//! What a change of certificates and lists takes away, and from whom.

use std::collections::{BTreeMap, BTreeSet};

use rustls_pki_types::CertificateRevocationListDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::faults::parsed;
use super::files::FilePart;
use super::material::Material;
use crate::notices::RightsLoss;

/// What the change from one to the other takes away.
pub(super) fn between(before: &Material, after: &Material) -> Vec<(FilePart, RightsLoss)> {
    let names = names(before)
        .difference(&names(after))
        .map(|name| {
            let loss =
                RightsLoss::new(format!("callers of {name}"), "the listener's certificate does not name it any more");
            (FilePart::Certificate, loss)
        })
        .collect::<Vec<_>>();
    let authorities = authorities(before)
        .difference(&authorities(after))
        .map(|name| {
            (FilePart::Authorities, RightsLoss::new(format!("whoever is of the authority {name}"), "everything"))
        })
        .collect::<Vec<_>>();
    let revoked = revoked(after)
        .difference(&revoked(before))
        .map(|certificate| {
            (FilePart::Lists, RightsLoss::new(format!("the holder of the certificate {certificate}"), "everything"))
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
        let Some(list) = list(der) else { return Vec::new() };
        let issuer = plain(&list.issuer().to_string());
        list.iter_revoked_certificates().map(|one| format!("{} of {issuer}", one.raw_serial_as_string())).collect()
    };
    material.lists.iter().flat_map(|lists| lists.iter()).flat_map(serials).collect()
}

/// The authorities of which there is no list, though there are lists: whoever is of one of them is refused.
pub(super) fn without_list(material: &Material) -> BTreeSet<String> {
    let Some(lists) = &material.lists else { return BTreeSet::new() };
    let issuers: Vec<_> = lists.iter().filter_map(|der| Some(list(der)?.issuer().as_raw().to_vec())).collect();
    let all = material.authorities.iter().flat_map(|all| all.iter()).filter_map(parsed);
    let without = all.filter(|authority| !issuers.iter().any(|issuer| issuer == authority.subject().as_raw()));
    without.map(|authority| plain(&authority.subject().to_string())).collect()
}

/// A list that an authority published before the one that is in force would give back what that one has taken.
pub(super) fn older_list(before: &Material, after: &Material) -> Option<String> {
    let published = |material: &Material| {
        let mut newest = BTreeMap::new();
        for list in material.lists.iter().flat_map(|lists| lists.iter()).filter_map(|der| list(der)) {
            let (at, issuer) = (list.last_update().timestamp(), list.issuer().as_raw().to_vec());
            let entry = newest.entry(issuer).or_insert((at, plain(&list.issuer().to_string())));
            entry.0 = entry.0.max(at);
        }
        newest
    };
    let (before, after) = (published(before), published(after));
    let older = before.iter().find(|(issuer, (at, _))| after.get(*issuer).is_some_and(|(now, _)| now < at));
    older.map(|(_, (_, name))| {
        format!("its list of {name} is older than the one in force, and would let in who was revoked since")
    })
}

fn list<'a>(der: &'a CertificateRevocationListDer<'_>) -> Option<CertificateRevocationList<'a>> {
    CertificateRevocationList::from_der(der).ok().map(|(_, list)| list)
}

/// What stands in a certificate is shown on a terminal.
fn plain(text: &str) -> String {
    text.escape_debug().collect()
}
