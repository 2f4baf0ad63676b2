//! Certificates that are not written as they should be.

use super::{Case, MOD_URI, Must, ROOT, below_root, case, module};
use crate::certificates::der::{bits, octets, seq, set, tlv};
use crate::certificates::keys::Key;
use crate::certificates::x509::{CN, Spec, basics, dns, ext, san, uri, validity};

const OURS: Must = Must::Admit("mod-uri");
const UNKNOWN: Must = Must::Refuse("CertificateUnknown");
const BAD: Must = Must::Refuse("BadCertificate");

pub(super) fn cases() -> Vec<Case> {
    [bytes(), fields(), doubles(), sizes()].concat()
}

fn raw(name: &'static str, der: Vec<u8>, key: &Key, must: Must) -> Case {
    case(name, &[&ROOT], vec![der], key.clone(), must)
}

fn bytes() -> Vec<Case> {
    let key = Key::new();
    let good = module(&key).by(&ROOT);
    let cut = good[..good.len() - 1].to_vec();
    let half = good[..good.len() / 2].to_vec();
    let longer = [good.clone(), vec![0]].concat();
    let twice = [good.clone(), good.clone()].concat();
    let mut indefinite = good.clone();
    indefinite.splice(1..4, [0x80]);
    indefinite.extend([0, 0]);
    let mut long_length = good.clone();
    long_length.splice(1..2, [0x83, 0]);
    vec![
        raw("a good certificate as it is", good.clone(), &key, OURS),
        raw("a byte is missing", cut, &key, BAD),
        raw("half of it is missing", half, &key, BAD),
        raw("a byte too many", longer, &key, BAD),
        raw("two certificates in one", twice, &key, BAD),
        raw("an indefinite length", indefinite, &key, BAD),
        raw("a length that is longer than need be", long_length, &key, BAD),
        raw("words instead of a certificate", b"let me in, I am mod-uri".to_vec(), &key, BAD),
        raw("an empty certificate", Vec::new(), &key, BAD),
        raw("an empty sequence", vec![0x30, 0], &key, BAD),
        raw("nothing but zeros", vec![0; 300], &key, BAD),
        raw("a PEM text", b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".to_vec(), &key, BAD),
        raw("a key instead of a certificate", key.spki(), &key, BAD),
        raw(
            "a length beyond its end",
            [vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff], good[4..].to_vec()].concat(),
            &key,
            BAD,
        ),
    ]
}

fn fields() -> Vec<Case> {
    let unique = tlv(0x81, &[0, 1, 2, 3]);
    let bad_time = seq(&[tlv(0x17, b"260230000000Z"), tlv(0x17, b"490101000000Z")]);
    let local_time = seq(&[tlv(0x17, b"2001010000+0100"), tlv(0x17, b"490101000000Z")]);
    let mut v1 = below_root("version 1", UNKNOWN, |spec| Spec { version: None, extensions: None, ..spec });
    v1.name = "version 1";
    vec![
        v1,
        below_root("version 1 with extensions", UNKNOWN, |spec| Spec { version: None, ..spec }),
        below_root("version 2", UNKNOWN, |spec| Spec { version: Some(1), extensions: None, ..spec }),
        below_root("version 4", UNKNOWN, |spec| Spec { version: Some(3), ..spec }),
        below_root("a serial number of twenty bytes", OURS, |spec| spec.serial(&[0x11; 20])),
        below_root("a serial number of zero", OURS, |spec| spec.serial(&[0])),
        below_root("no serial number", BAD, |spec| spec.serial(&[])),
        below_root("unique identifiers", BAD, |spec| Spec { between: unique, ..spec }),
        below_root("a day that does not exist", BAD, |spec| Spec { validity: bad_time, ..spec }),
        below_root("a time with a zone", BAD, |spec| Spec { validity: local_time, ..spec }),
        below_root("no times", BAD, |spec| Spec { validity: seq(&[]), ..spec }),
        below_root("a key that is none", BAD, |spec| Spec { spki: seq(&[seq(&[]), bits(&[1, 2, 3])]), ..spec }),
        below_root("alternative names that are no sequence", BAD, |spec| {
            spec.only(&[ext("2.5.29.17", false, &octets(MOD_URI.as_bytes()))])
        }),
        below_root("alternative names of a kind that does not exist", Must::Nobody, |spec| {
            spec.only(&[san(&[uri(MOD_URI), tlv(0x8f, b"x")])])
        }),
        below_root("alternative names with something behind them", BAD, |spec| {
            spec.only(&[ext("2.5.29.17", false, &[seq(&[uri(MOD_URI)]), vec![5, 0]].concat())])
        }),
        below_root("extensions without any", Must::Nobody, |spec| spec.only(&[])),
        below_root("a subject that is a set", BAD, |spec| spec.subject(set(&[]))),
        // Nobody looks at the subject of a certificate that has alternative names.
        below_root("an attribute without a value", OURS, |spec| {
            spec.subject(seq(&[set(&[seq(&[crate::certificates::der::oid(CN)])])]))
        }),
        below_root("a validity in the form of another century", BAD, |spec| Spec {
            validity: seq(&[tlv(0x18, b"20200101000000"), tlv(0x18, b"20490101000000")]),
            ..spec
        }),
        below_root("a validity that is good", OURS, |spec| Spec { validity: validity(-60, 60 * 60), ..spec }),
    ]
}

/// RFC 5280 §4.2: no extension twice.
fn doubles() -> Vec<Case> {
    let other = || san(&[dns("mod-dns.example.org")]);
    vec![
        below_root("two extensions of alternative names", UNKNOWN, |spec| spec.with(other())),
        below_root("two extensions of the same alternative names", UNKNOWN, |spec| spec.named(&[uri(MOD_URI)])),
        below_root("basic constraints twice", UNKNOWN, |spec| spec.with(basics(false, None))),
        below_root("an unknown extension twice", BAD, |spec| {
            let unknown = || ext("1.3.6.1.4.1.99999.7", false, &octets(b"?"));
            spec.with(unknown()).with(unknown())
        }),
    ]
}

fn sizes() -> Vec<Case> {
    let names = |count: usize| (0..count).map(|at| dns(format!("name-{at:05}.example.com"))).collect::<Vec<_>>();
    let comment = |size| ext("1.3.6.1.4.1.99999.8", false, &octets(&vec![b'x'; size]));
    vec![
        below_root("a thousand other names", OURS, |spec| {
            spec.only(&[san(&[names(1000), vec![uri(MOD_URI)]].concat())])
        }),
        below_root("thirty kilobytes of comment", OURS, |spec| spec.with(comment(30_000))),
        below_root("seventy kilobytes of comment", Must::Drop, |spec| spec.with(comment(70_000))),
        below_root("a megabyte of comment", Must::Drop, |spec| spec.with(comment(1_000_000))),
        below_root("three thousand names", Must::Drop, |spec| {
            spec.only(&[san(&[names(3000), vec![uri(MOD_URI)]].concat())])
        }),
    ]
}
