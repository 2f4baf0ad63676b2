//! Certificates and revocation lists, part by part, so that each part can be wrong by itself.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::certificates::der::{bits, boolean, integer, octets, oid, seq, set, time, tlv};
use crate::certificates::keys::{Alg, Key};

pub(crate) const HOUR: i64 = 3600;
pub(crate) const DAY: i64 = 24 * HOUR;
pub(crate) const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
pub(crate) const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
pub(crate) const ANY_USAGE: &str = "2.5.29.37.0";
pub(crate) const CN: &str = "2.5.4.3";

/// The bits of a key usage (RFC 5280 §4.2.1.3) in their first byte.
pub(crate) const DIGITAL_SIGNATURE: u8 = 0x80;
pub(crate) const KEY_ENCIPHERMENT: u8 = 0x20;
pub(crate) const CERT_SIGN: u8 = 0x04;
pub(crate) const CRL_SIGN: u8 = 0x02;

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock");
    i64::try_from(since.as_secs()).expect("a moment of this era")
}

// --- names -----------------------------------------------------------------------------------------------------------

/// A distinguished name of these attributes: type, string tag, bytes.
pub(crate) fn name_of(attributes: &[(&str, u8, &[u8])]) -> Vec<u8> {
    seq(&attributes.iter().map(|(kind, tag, text)| set(&[seq(&[oid(kind), tlv(*tag, text)])])).collect::<Vec<_>>())
}

/// A distinguished name of one common name.
pub(crate) fn cn(text: &str) -> Vec<u8> {
    name_of(&[(CN, 0x0c, text.as_bytes())])
}

/// General names (RFC 5280 §4.2.1.6).
pub(crate) fn email(text: &str) -> Vec<u8> {
    tlv(0x81, text.as_bytes())
}

pub(crate) fn dns(text: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0x82, text.as_ref())
}

pub(crate) fn uri(text: impl AsRef<[u8]>) -> Vec<u8> {
    tlv(0x86, text.as_ref())
}

pub(crate) fn ip(address: &[u8]) -> Vec<u8> {
    tlv(0x87, address)
}

pub(crate) fn directory(name: &[u8]) -> Vec<u8> {
    tlv(0xa4, name)
}

pub(crate) fn other_name(kind: &str, text: &str) -> Vec<u8> {
    tlv(0xa0, &[oid(kind), tlv(0xa0, &tlv(0x0c, text.as_bytes()))].concat())
}

pub(crate) fn registered_id(dotted: &str) -> Vec<u8> {
    let mut out = oid(dotted);
    out[0] = 0x88;
    out
}

// --- extensions ------------------------------------------------------------------------------------------------------

/// An extension.
pub(crate) fn ext(kind: &str, critical: bool, value: &[u8]) -> Vec<u8> {
    let mut parts = vec![oid(kind)];
    if critical {
        parts.push(boolean(true));
    }
    parts.push(octets(value));
    seq(&parts)
}

pub(crate) fn san(names: &[Vec<u8>]) -> Vec<u8> {
    ext("2.5.29.17", false, &seq(names))
}

pub(crate) fn eku(usages: &[&str]) -> Vec<u8> {
    ext("2.5.29.37", false, &seq(&usages.iter().map(|usage| oid(usage)).collect::<Vec<_>>()))
}

pub(crate) fn ku(flags: u8) -> Vec<u8> {
    let unused = u8::try_from(flags.trailing_zeros().min(7)).expect("at most seven");
    ext("2.5.29.15", true, &tlv(0x03, &[unused, flags]))
}

pub(crate) fn basics(ca: bool, path_length: Option<u8>) -> Vec<u8> {
    let mut parts = Vec::new();
    if ca {
        parts.push(boolean(true));
    }
    parts.extend(path_length.map(|length| integer(&[length])));
    ext("2.5.29.19", true, &seq(&parts))
}

pub(crate) fn constraints(permitted: &[Vec<u8>], excluded: &[Vec<u8>]) -> Vec<u8> {
    let subtrees = |tag, bases: &[Vec<u8>]| {
        let list: Vec<Vec<u8>> = bases.iter().map(|base| seq(std::slice::from_ref(base))).collect();
        if list.is_empty() { Vec::new() } else { tlv(tag, &list.concat()) }
    };
    ext("2.5.29.30", true, &seq(&[subtrees(0xa0, permitted), subtrees(0xa1, excluded)]))
}

/// `CRLDistributionPoints` with one URI.
pub(crate) fn distribution_point(at: &str) -> Vec<u8> {
    ext("2.5.29.31", false, &seq(&[seq(&[tlv(0xa0, &tlv(0xa0, &uri(at)))])]))
}

// --- certificates ----------------------------------------------------------------------------------------------------

/// A certificate that is not signed yet.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    pub(crate) version: Option<u8>,
    pub(crate) serial: Vec<u8>,
    /// The algorithm inside, where it is not that of the signature.
    pub(crate) claimed: Option<Vec<u8>>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) validity: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    /// Between key and extensions: unique identifiers.
    pub(crate) between: Vec<u8>,
    pub(crate) extensions: Option<Vec<Vec<u8>>>,
}

pub(crate) fn validity(from: i64, until: i64) -> Vec<u8> {
    seq(&[time(now() + from), time(now() + until)])
}

fn serial() -> Vec<u8> {
    static NEXT: AtomicU32 = AtomicU32::new(0x0100_0000);
    NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec()
}

impl Spec {
    /// A module's certificate without a name.
    pub(crate) fn leaf(key: &Key) -> Self {
        Self {
            version: Some(2),
            serial: serial(),
            claimed: None,
            issuer: Vec::new(),
            validity: validity(-HOUR, DAY),
            subject: name_of(&[]),
            spki: key.spki(),
            between: Vec::new(),
            extensions: Some(vec![basics(false, None), ku(DIGITAL_SIGNATURE), eku(&[CLIENT_AUTH])]),
        }
    }

    /// An authority's certificate.
    pub(crate) fn authority(name: &[u8], key: &Key) -> Self {
        let extensions = vec![basics(true, None), ku(CERT_SIGN | CRL_SIGN)];
        Self { subject: name.to_vec(), extensions: Some(extensions), ..Self::leaf(key) }
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.get_or_insert_default().push(extension);
        self
    }

    /// Only these extensions.
    pub(crate) fn only(mut self, extensions: &[Vec<u8>]) -> Self {
        self.extensions = Some(extensions.to_vec());
        self
    }

    pub(crate) fn named(mut self, names: &[Vec<u8>]) -> Self {
        self = self.with(san(names));
        self
    }

    pub(crate) fn subject(mut self, subject: Vec<u8>) -> Self {
        self.subject = subject;
        self
    }

    pub(crate) fn valid(mut self, from: i64, until: i64) -> Self {
        self.validity = validity(from, until);
        self
    }

    pub(crate) fn serial(mut self, serial: &[u8]) -> Self {
        self.serial = serial.to_vec();
        self
    }

    fn body(&self, alg: Alg) -> Vec<u8> {
        let mut parts = Vec::new();
        parts.extend(self.version.map(|version| tlv(0xa0, &integer(&[version]))));
        parts.push(integer(&self.serial));
        parts.push(self.claimed.clone().unwrap_or_else(|| alg.identifier()));
        parts.extend([self.issuer.clone(), self.validity.clone(), self.subject.clone(), self.spki.clone()]);
        parts.push(self.between.clone());
        parts.extend(self.extensions.as_ref().map(|list| tlv(0xa3, &seq(list))));
        seq(&parts)
    }

    /// Signed by an authority.
    pub(crate) fn by(self, authority: &Authority) -> Vec<u8> {
        let issuer = if self.issuer.is_empty() { authority.name.clone() } else { self.issuer.clone() };
        Self { issuer, ..self }.signed(&authority.key, authority.alg)
    }

    /// Signed by a key, whoever's it is.
    pub(crate) fn signed(&self, key: &Key, alg: Alg) -> Vec<u8> {
        let body = self.body(alg);
        let signature = key.sign(alg, &body);
        seq(&[body, alg.identifier(), bits(&signature)])
    }
}

/// A name and a key that sign, and the certificate that says so.
#[derive(Debug, Clone)]
pub(crate) struct Authority {
    pub(crate) name: Vec<u8>,
    pub(crate) key: Key,
    pub(crate) alg: Alg,
    pub(crate) der: Vec<u8>,
}

impl Authority {
    /// A root.
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, Key::new(), Alg::EcdsaSha256, |spec| spec)
    }

    pub(crate) fn root_with(name: &str, key: Key, alg: Alg, change: impl FnOnce(Spec) -> Spec) -> Self {
        let name = cn(name);
        let spec = change(Spec { issuer: name.clone(), ..Spec::authority(&name, &key) });
        let der = spec.signed(&key, alg);
        Self { name, key, alg, der }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, name: &str) -> Self {
        self.below_with(name, |spec| spec)
    }

    pub(crate) fn below_with(&self, name: &str, change: impl FnOnce(Spec) -> Spec) -> Self {
        let (name, key) = (cn(name), Key::new());
        let der = change(Spec::authority(&name, &key)).by(self);
        Self { name, key, alg: Alg::EcdsaSha256, der }
    }
}

// --- revocation lists ------------------------------------------------------------------------------------------------

/// A revocation list that is not signed yet.
#[derive(Debug, Clone)]
pub(crate) struct List {
    pub(crate) version: Option<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) since: i64,
    pub(crate) until: Option<i64>,
    pub(crate) serials: Vec<Vec<u8>>,
    /// Extensions of every entry.
    pub(crate) entry: Vec<Vec<u8>>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

impl List {
    /// An authority's list of these serial numbers.
    pub(crate) fn of(authority: &Authority, serials: &[&[u8]]) -> Self {
        Self {
            version: Some(1),
            issuer: authority.name.clone(),
            since: -HOUR,
            until: Some(DAY),
            serials: serials.iter().map(|serial| serial.to_vec()).collect(),
            entry: Vec::new(),
            extensions: vec![ext("2.5.29.20", false, &integer(&[1]))],
        }
    }

    pub(crate) fn with(mut self, extension: Vec<u8>) -> Self {
        self.extensions.push(extension);
        self
    }

    pub(crate) fn signed(&self, key: &Key, alg: Alg) -> Vec<u8> {
        let entries = self.serials.iter().map(|serial| {
            let extensions = if self.entry.is_empty() { Vec::new() } else { seq(&self.entry) };
            seq(&[integer(serial), time(now() - HOUR), extensions])
        });
        let mut parts = Vec::new();
        parts.extend(self.version.map(|version| integer(&[version])));
        parts.extend([alg.identifier(), self.issuer.clone(), time(now() + self.since)]);
        parts.extend(self.until.map(|until| time(now() + until)));
        if !self.serials.is_empty() {
            parts.push(seq(&entries.collect::<Vec<_>>()));
        }
        if !self.extensions.is_empty() {
            parts.push(tlv(0xa0, &seq(&self.extensions)));
        }
        let body = seq(&parts);
        let signature = key.sign(alg, &body);
        seq(&[body, alg.identifier(), bits(&signature)])
    }

    pub(crate) fn by(&self, authority: &Authority) -> Vec<u8> {
        self.signed(&authority.key, authority.alg)
    }
}
